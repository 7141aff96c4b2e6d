//! Gzipped tar archives without compression, and their digests.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use crate::error::{Doing, LabError};

/// An archive under construction. Times and owners are the same for every file.
pub(super) struct Archive {
    path: PathBuf,
    builder: Builder<GzEncoder<File>>,
}

impl Archive {
    pub(super) fn create(path: &Path) -> Result<Self, LabError> {
        let file = File::create(path).doing(|| format!("making {}", path.display()))?;
        Ok(Self { path: path.to_owned(), builder: Builder::new(GzEncoder::new(file, Compression::none())) })
    }

    pub(super) fn text(&mut self, inside: &str, text: &str, mode: u32) -> Result<(), LabError> {
        self.bytes(inside, text.as_bytes(), mode)
    }

    pub(super) fn bytes(&mut self, inside: &str, content: &[u8], mode: u32) -> Result<(), LabError> {
        self.append(inside, content.len() as u64, content, mode)
    }

    pub(super) fn file(&mut self, inside: &str, from: &Path, mode: u32) -> Result<(), LabError> {
        let doing = || format!("reading {}", from.display());
        let file = File::open(from).doing(doing)?;
        let length = file.metadata().doing(doing)?.len();
        self.append(inside, length, file, mode)
    }

    pub(super) fn finish(self) -> Result<(), LabError> {
        let Self { path, builder } = self;
        builder.into_inner().and_then(GzEncoder::finish).map(drop).doing(|| format!("writing {}", path.display()))
    }

    fn append(&mut self, inside: &str, length: u64, content: impl Read, mode: u32) -> Result<(), LabError> {
        let mut header = Header::new_gnu();
        header.set_size(length);
        header.set_mode(mode);
        let written = self.builder.append_data(&mut header, format!("./{inside}"), content);
        written.doing(|| format!("writing {inside} to {}", self.path.display()))
    }
}

/// Digest in the format of a release's manifest.
pub(super) fn digest(content: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match content.read(&mut chunk)? {
            0 => return Ok(format!("sha256:{}", hex(&hash.finalize()))),
            length => hash.update(&chunk[..length]),
        }
    }
}

/// Digest of a text, with the length of a fingerprint.
pub(super) fn short_digest(text: &[u8]) -> String {
    hex(&Sha256::digest(text)[..20])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
