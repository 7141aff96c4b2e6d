//! Digests in the format of `release.MF`.

use ring::digest::{self, Algorithm, Context};

/// Computes the digest of what is written to it.
pub(super) struct Digester {
    context: Context,
    wanted: Vec<u8>,
}

impl Digester {
    /// For a digest as written: `HEX` (SHA-1), `sha256:HEX` or `sha512:HEX`, or several joined by `;`, of which the
    /// strongest is used. `None` for any other text.
    pub(super) fn new(written: &str) -> Option<Self> {
        let known = written.split(';').filter_map(one);
        known
            .max_by_key(|(algorithm, _)| algorithm.output_len())
            .map(|(algorithm, wanted)| Self { context: Context::new(algorithm), wanted })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Whether the written bytes have the digest.
    pub(super) fn matches(self) -> bool {
        self.context.finish().as_ref() == self.wanted
    }
}

fn one(written: &str) -> Option<(&'static Algorithm, Vec<u8>)> {
    let (algorithm, hex) = match written.trim().split_once(':') {
        None => (&digest::SHA1_FOR_LEGACY_USE_ONLY, written.trim()),
        Some(("sha1", hex)) => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hex),
        Some(("sha256", hex)) => (&digest::SHA256, hex),
        Some(("sha512", hex)) => (&digest::SHA512, hex),
        Some(_) => return None,
    };
    let bytes = unhex(hex)?;
    (bytes.len() == algorithm.output_len()).then_some((algorithm, bytes))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}
