//! Reading of regular files, and of nothing else.

use std::{
    fs::{self, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use nix::libc;

/// No state file of boshy comes near this size, and a larger file must not fill the memory.
pub(crate) const MAX_SIZE: u64 = 256 << 20;

/// Reads a regular file on the calling thread, or the one that a symbolic link leads to. It does not wait for a writer.
///
/// # Errors
/// When the file is missing or cannot be read; also for a FIFO, a socket, a device, a directory, a loop of links, or a
/// file of more than `limit` octets.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Checked by name first, because opening a socket fails without a useful error, and opening a device may have an
    // effect.
    must_be_regular(&fs::metadata(path)?)?;
    // The opened file is checked again. Opening does not block on a FIFO without a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    must_be_regular(&metadata)?;
    let mut content = Vec::new();
    if metadata.len() <= limit {
        file.take(limit + 1).read_to_end(&mut content)?;
    }
    if metadata.len().max(content.len() as u64) > limit {
        return Err(io::Error::other(format!("is larger than {limit} octets")));
    }
    Ok(content)
}

/// Refuses anything but a regular file.
///
/// # Errors
/// One that names the kind of the file, such as a FIFO.
pub fn must_be_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = metadata.file_type();
    let kinds = [
        (kind.is_dir(), "a directory"),
        (kind.is_fifo(), "a FIFO"),
        (kind.is_socket(), "a socket"),
        (kind.is_char_device(), "a character device"),
        (kind.is_block_device(), "a block device"),
    ];
    let what = kinds.into_iter().find(|(is, _)| *is).map_or("something else", |(_, what)| what);
    Err(io::Error::new(ErrorKind::InvalidInput, format!("is {what} where a regular file should be")))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_refused_without_being_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(read_regular(&path, 1000).unwrap_err().to_string().contains("larger than 1000 octets"));
    }
}
