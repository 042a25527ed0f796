//! Small whole files: configuration, process ids, what the kernel tells in `/proc`.

use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use staticfire::broker::config::{Table, Warning};
use staticfire::env::{Access, Env};

use crate::failure::Failure;
use crate::say;

/// More than any file that is read here holds.
const FILE_BYTES_MAX: usize = 8 << 20;
const READ_BYTES: usize = 64 << 10;

/// All bytes of a file.
///
/// # Errors
/// As `Disk::open` and `File::read_at`; `FileTooLarge` beyond 8 MiB.
pub(crate) async fn read(env: &Env, path: &Path) -> io::Result<Vec<u8>> {
    let file = env.disk.open(path, Access::Read).await?;
    let mut all = BytesMut::new();
    loop {
        let part = file.read_at(all.len() as u64, READ_BYTES).await?;
        if part.is_empty() {
            return Ok(all.to_vec());
        }
        all.extend_from_slice(&part);
        if all.len() > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// All bytes of a file of `/proc`, which claims no length. Read in place: it lies in the kernel's memory. Empty when it
/// cannot be read.
pub(crate) fn kernel(path: &Path) -> Vec<u8> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let Ok(open) = rustix::fs::open(path, flags, rustix::fs::Mode::empty()) else { return Vec::new() };
    let mut all = Vec::new();
    let mut part = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = rustix::io::read(&open, &mut part[..]) {
        all.extend_from_slice(&part[..count]);
        if all.len() > FILE_BYTES_MAX {
            break;
        }
    }
    all
}

/// Replaces what the file held.
///
/// # Errors
/// As `Disk::open`, `File::set_len` and `File::write_at`.
pub(crate) async fn write(env: &Env, path: &Path, text: String) -> io::Result<()> {
    let file = env.disk.open(path, Access::Create).await?;
    file.set_len(0).await?;
    file.write_at(0, Bytes::from(text)).await
}

/// Reads the property file `path`, if there is one to read, over `base`, and says its warnings.
///
/// # Errors
/// It cannot be read, or holds a mistake.
pub(crate) async fn properties<T: Clone>(
    env: &Env,
    table: &Table<T>,
    path: Option<&Path>,
    base: T,
) -> Result<T, Failure> {
    let Some(path) = path else { return Ok(base) };
    let unreadable = |error| Failure::Unreadable { file: path.to_owned(), error };
    let bytes = read(env, path).await.map_err(unreadable)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error.utf8_error())))?;
    let name = path.display().to_string();
    let (settings, warnings) =
        table.read(&name, &text, base).map_err(|error| Failure::Config { file: path.to_owned(), error })?;
    for warning in &warnings {
        say::warning(&in_file(&name, warning));
    }
    Ok(settings)
}

fn in_file(name: &str, warning: &Warning) -> String {
    format!("{name}: {warning}")
}
