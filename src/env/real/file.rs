//! Plain files, read and written by position.

#![expect(clippy::disallowed_methods, reason = "the one place that touches the file system")]

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{blocking, named};
use crate::env::{Access, BoxFuture, File};

pub(super) struct RealFile {
    open: Arc<Open>,
}

struct Open {
    file: fs::File,
    path: PathBuf,
    access: Access,
}

impl RealFile {
    pub(super) fn open(path: &Path, access: Access) -> io::Result<RealFile> {
        let file = open(path, access)?;
        Ok(RealFile { open: Arc::new(Open { file, path: path.to_owned(), access }) })
    }

    fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, io::Result<T>> {
        let open = Arc::clone(&self.open);
        Box::pin(blocking(move || call(&open.file).map_err(named(operation, open.path.display()))))
    }

    fn change(
        &self,
        operation: &'static str,
        call: impl FnOnce(&fs::File) -> io::Result<()> + Send + 'static,
    ) -> BoxFuture<'_, io::Result<()>> {
        let refused = self.open.access == Access::Read;
        self.call(operation, move |file| if refused { Err(read_only()) } else { call(file) })
    }
}

impl File for RealFile {
    fn len(&self) -> BoxFuture<'_, io::Result<u64>> {
        self.call("ask for the length of", |file| Ok(file.metadata()?.len()))
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        self.call("read", move |file| read_at(file, offset, len))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        self.change("write", move |file| file.write_all_at(&data, offset))
    }

    fn set_len(&self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        self.change("set the length of", move |file| file.set_len(len))
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        // fdatasync writes the length too, whenever the new one is needed to read the data back.
        self.call("sync", fs::File::sync_data)
    }
}

pub(super) fn open(path: &Path, access: Access) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(access != Access::Read).create(access == Access::Create).truncate(false);
    options.open(path)
}

pub(super) fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "opened for reading")
}

fn read_at(file: &fs::File, offset: u64, len: usize) -> io::Result<Bytes> {
    // The file bounds the buffer, whatever length was asked for.
    let there = file.metadata()?.len().saturating_sub(offset);
    let mut buffer = vec![0; usize::try_from(there).unwrap_or(usize::MAX).min(len)];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}
