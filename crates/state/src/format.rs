//! The header that seals a state file.

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// The format of a state file.
///
/// A file is one line of header, the content, and a newline. The header is the format's name, its version, and the
/// SHA-256 of the content in hexadecimal, separated by spaces.
///
/// A file that is damaged, or that a newer boshy wrote, is refused as a whole, because half a state is worse than none.
///
/// ```
/// const FORMAT: boshy_state::Format = boshy_state::Format { name: "boshy-example", version: 1 };
///
/// let file = FORMAT.seal(b"content");
/// assert_eq!(FORMAT.unseal(&file).unwrap(), b"content");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// What the file is, without spaces. No two files of boshy share a name.
    pub name: &'static str,
    /// Version of the content. It grows when an older boshy could not read the content correctly.
    pub version: u32,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It does not begin with the format's name.
    #[error("is no {0} file")]
    Foreign(&'static str),
    /// A newer boshy wrote it.
    #[error("has format {found}, this boshy reads format {known}")]
    Newer {
        /// Version of the file.
        found: String,
        /// Version that this boshy reads.
        known: u32,
    },
    /// It is damaged.
    #[error("does not match its checksum")]
    Checksum,
    /// The checksum is right but the content is not: a bug of the writer.
    #[error("has content that makes no sense")]
    Content(#[source] serde_json::Error),
}

impl Format {
    /// The file with this content.
    #[must_use]
    pub fn seal(&self, content: &[u8]) -> Vec<u8> {
        let header = format!("{} {} {}\n", self.name, self.version, checksum(content));
        [header.as_bytes(), content, b"\n"].concat()
    }

    /// The content of a file.
    ///
    /// # Errors
    /// When the file is foreign, newer or damaged.
    pub fn unseal<'f>(&self, file: &'f [u8]) -> Result<&'f [u8], SealError> {
        let foreign = || SealError::Foreign(self.name);
        let end = file.iter().position(|octet| *octet == b'\n').ok_or_else(foreign)?;
        let header = std::str::from_utf8(&file[..end]).map_err(|_| foreign())?;
        let [name, version, sum] = header.split(' ').collect::<Vec<_>>()[..] else { return Err(foreign()) };
        if name != self.name {
            return Err(foreign());
        }
        if version != self.version.to_string() {
            return Err(SealError::Newer { found: version.to_owned(), known: self.version });
        }
        let content = file[end + 1..].strip_suffix(b"\n").ok_or(SealError::Checksum)?;
        if sum == checksum(content) { Ok(content) } else { Err(SealError::Checksum) }
    }

    /// The file with this value as JSON.
    ///
    /// # Panics
    /// When the value has no JSON: a map whose keys are not texts.
    #[must_use]
    pub fn seal_json(&self, value: &impl Serialize) -> Vec<u8> {
        let content = serde_json::to_vec_pretty(value);
        self.seal(&content.expect("maps with text keys, numbers and texts are always JSON"))
    }

    /// The value of a file whose content is JSON.
    ///
    /// # Errors
    /// When the file is foreign, newer or damaged, or the content is another value's.
    pub fn unseal_json<T: DeserializeOwned>(&self, file: &[u8]) -> Result<T, SealError> {
        serde_json::from_slice(self.unseal(file)?).map_err(SealError::Content)
    }
}

fn checksum(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { name: "boshy-example", version: 1 };

    #[test]
    fn content_comes_back_as_it_was_and_under_its_own_name_only() {
        for content in [&b""[..], b"\n", b"a text\nof lines\n", &[0, 0xff, b'\n', b' ']] {
            assert_eq!(FORMAT.unseal(&FORMAT.seal(content)).unwrap(), content);
        }
        let other = Format { name: "boshy-other", ..FORMAT };
        assert!(matches!(other.unseal(&FORMAT.seal(b"x")), Err(SealError::Foreign("boshy-other"))));
    }

    #[test]
    fn any_changed_octet_is_noticed_and_so_is_a_file_cut_anywhere_or_too_long() {
        let good = FORMAT.seal(b"content\xff");
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert!(FORMAT.unseal(&bad).is_err(), "octet {index}");
            assert!(FORMAT.unseal(&good[..index]).is_err(), "length {index}");
        }
        assert!(matches!(FORMAT.unseal(&good[..good.len() - 1]), Err(SealError::Checksum)));
        assert!(matches!(FORMAT.unseal(&[&good[..], b"\n"].concat()), Err(SealError::Checksum)));
    }

    #[test]
    fn a_newer_format_is_named() {
        let refused = FORMAT.unseal(b"boshy-example 2 x\n[]\n").unwrap_err();
        assert_eq!(refused.to_string(), "has format 2, this boshy reads format 1");
    }

    #[test]
    fn json_of_another_value_is_refused() {
        assert_eq!(FORMAT.unseal_json::<u32>(&FORMAT.seal_json(&7)).unwrap(), 7);
        assert!(matches!(FORMAT.unseal_json::<u32>(&FORMAT.seal_json(&"seven")), Err(SealError::Content(_))));
    }
}
