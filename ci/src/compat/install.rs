//! Fetches the official clients and builds the drivers, under `target/compat`.
//!
//! Everything comes through the ordinary client of its registry (pip, Maven, the Go command) at a pinned version and is kept
//! between runs. The three families are prepared at the same time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The wheel that packs the C++ client.
const WHEEL: &str = "rocketmq==0.4.4";

/// Why a client could not be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("cannot run {program}: {source}")]
    Run { program: String, source: io::Error },
    #[error("{step} failed ({status}); see {log}")]
    Step { step: String, status: String, log: String },
    #[error("the preparation of {0} panicked")]
    Panicked(&'static str),
}

/// Where the prepared parts are.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) python: PathBuf,
    pub(crate) go_driver: PathBuf,
    pub(crate) java_4: String,
    pub(crate) java_5: String,
    /// Apache's own servers.
    pub(crate) server_jars: PathBuf,
    sources: PathBuf,
}

impl Installed {
    /// The C++ driver's program text.
    pub(crate) fn cpp_driver(&self) -> PathBuf {
        self.sources.join("cpp/driver.py")
    }
}

/// Prepares all drivers from `sources` (`ci/compat`) in `dir` (`target/compat`).
pub(crate) fn install(sources: &Path, dir: &Path) -> Result<Installed, InstallError> {
    fs::create_dir_all(dir)?;
    std::thread::scope(|scope| {
        let cpp = scope.spawn(|| wheel(dir));
        let go = scope.spawn(|| go_driver(sources, dir));
        let java = scope.spawn(|| java(sources, dir));
        let python = cpp.join().map_err(|_| InstallError::Panicked("the wheel"))??;
        let go_driver = go.join().map_err(|_| InstallError::Panicked("the Go driver"))??;
        let (java_4, java_5, server_jars) = java.join().map_err(|_| InstallError::Panicked("Java"))??;
        Ok(Installed { python, go_driver, java_4, java_5, server_jars, sources: sources.to_owned() })
    })
}

/// Prepares Apache's own servers alone.
pub(crate) fn servers(sources: &Path, dir: &Path) -> Result<PathBuf, InstallError> {
    fs::create_dir_all(dir)?;
    jars(sources, dir, "server-5")
}

fn wheel(dir: &Path) -> Result<PathBuf, InstallError> {
    let python = dir.join("py/bin/python");
    let marker = dir.join("py/wheel");
    if fs::read_to_string(&marker).is_ok_and(|is| is == WHEEL) {
        return Ok(python);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(dir.join("py"));
    step(dir, "python3 -m venv", make)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", WHEEL]);
    step(dir, "pip install", pip)?;
    fs::write(marker, WHEEL)?;
    Ok(python)
}

fn go_driver(sources: &Path, dir: &Path) -> Result<PathBuf, InstallError> {
    let driver = dir.join("go-driver");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&driver).arg(".").current_dir(sources.join("go"));
    step(dir, "go build", build)?;
    Ok(driver)
}

type Java = (String, String, PathBuf);

fn java(sources: &Path, dir: &Path) -> Result<Java, InstallError> {
    let driver = sources.join("java/Driver.java");
    let admin = sources.join("java/Admin.java");
    let jars_4 = jars(sources, dir, "client-4")?;
    let java_4 = compile(dir, "classes-4", &jars_4, &[&driver])?;
    let jars_5 = jars(sources, dir, "client-5")?;
    let java_5 = compile(dir, "classes-5", &jars_5, &[&driver, &admin])?;
    Ok((java_4, java_5, jars(sources, dir, "server-5")?))
}

/// Copies the jars a pom names into `dir/name`, once for each text of the pom.
fn jars(sources: &Path, dir: &Path, name: &str) -> Result<PathBuf, InstallError> {
    let pom = sources.join("java").join(name).join("pom.xml");
    let lib = dir.join(name);
    let marker = lib.join("pom.xml");
    let wanted = fs::read_to_string(&pom)?;
    if fs::read_to_string(&marker).is_ok_and(|is| is == wanted) {
        return Ok(lib);
    }
    let mut copy = Command::new("mvn");
    copy.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
    copy.arg(format!("-DoutputDirectory={}", lib.display()));
    step(dir, &format!("mvn {name}"), copy)?;
    fs::write(marker, wanted)?;
    Ok(lib)
}

/// Compiles into `dir/name` and returns the class path that runs the result.
fn compile(dir: &Path, name: &str, jars: &Path, files: &[&Path]) -> Result<String, InstallError> {
    let classes = dir.join(name);
    let path = format!("{}/*", jars.display());
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-d"]).arg(&classes).args(["-cp", &path]).args(files);
    step(dir, &format!("javac {name}"), javac)?;
    Ok(format!("{}:{path}", classes.display()))
}

fn step(dir: &Path, step: &str, mut command: Command) -> Result<(), InstallError> {
    let log = dir.join(format!("{}.log", step.replace(' ', "-")));
    let out = File::create(&log)?;
    command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|source| InstallError::Run { program, source })?;
    if status.success() {
        return Ok(());
    }
    let (step, status, log) = (step.to_owned(), status.to_string(), log.display().to_string());
    Err(InstallError::Step { step, status, log })
}
