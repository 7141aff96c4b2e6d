//! Reads tarballs of releases: arbitrary octets, and releases whose archives, sizes and digests are correct, so that
//! the content is reached as well.
//!
//! A file in the input begins with a line of `>`, the archive (`j` for a job's, anything else for the release's), the
//! type of the tar entry, the content (`=` what follows, `@` the job's archive, `!` like `=` with a wrong size), and
//! the path. `DIGEST` is the digest of the job's archive.
#![no_main]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use boshy_fuzz::sound;
use boshy_lab_director::release::{
    Job, ReleaseError,
    archive::{Limits, job, unpack},
};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const LIMITS: Limits = Limits { total: 64 << 10, job: 16 << 10, manifest: 4 << 10, entries: 16 };

/// A folder for packages, with nothing else beside it.
static FOLDER: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let outer = TempDir::new().expect("a folder");
    let inner = outer.path().join("packages");
    fs::create_dir(&inner).expect("a folder");
    (outer, inner)
});

fuzz_target!(init: boshy_fuzz::let_the_yaml_library_panic(), |octets: &[u8]| {
    for archive in [octets, &zipped(octets)] {
        take_job(archive);
        take_release(archive);
    }
    let files = files(octets);
    let of_job = archive(files.iter().filter(|file| file.of_job), &[]);
    take_job(&of_job);
    take_release(&archive(files.iter().filter(|file| !file.of_job), &of_job));
});

fn take_job(archive: &[u8]) {
    match job("web", archive, &LIMITS) {
        Ok(job) => whole(&job),
        Err(error) => assert!(!matches!(error, ReleaseError::File { .. }), "{error}"),
    }
}

fn take_release(tarball: &[u8]) {
    let (outer, folder) = &*FOLDER;
    let taken = unpack(tarball, folder, &LIMITS);
    let written = inside(folder);
    assert_eq!(inside(outer.path()), [folder.clone()]);
    let octets: u64 = written.iter().map(|path| fs::metadata(path).expect("a file").len()).sum();
    assert!(octets <= LIMITS.total, "{octets} octets were written");
    match taken {
        Ok(release) => {
            for entry in &release.jobs {
                whole(&entry.job);
            }
            for package in &release.packages {
                let path = folder.join(format!("{}.tgz", package.fingerprint));
                assert!(package.archive.as_ref().is_none_or(|archive| *archive == path && written.contains(&path)));
            }
        }
        Err(error) => assert!(!matches!(error, ReleaseError::File { .. }), "{error}"),
    }
    for path in written {
        fs::remove_file(path).expect("a file");
    }
}

fn whole(job: &Job) {
    sound(&job.spec);
    assert!(job.spec.templates.iter().all(|(source, _)| job.templates.contains_key(source)));
    let octets = job.monit.len() + job.templates.values().map(String::len).sum::<usize>();
    assert!(octets as u64 <= LIMITS.job, "{octets} octets");
}

fn inside(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

struct File<'i> {
    of_job: bool,
    kind: u8,
    content: u8,
    path: &'i [u8],
    text: &'i [u8],
}

fn files(octets: &[u8]) -> Vec<File<'_>> {
    let starts =
        octets.iter().enumerate().filter(|&(at, &octet)| octet == b'>' && (at == 0 || octets[at - 1] == b'\n'));
    let starts: Vec<_> = starts.map(|(at, _)| at).chain([octets.len()]).collect();
    let file = |part: &[usize]| {
        let file = &octets[part[0] + 1..part[1]];
        let line = file.iter().position(|octet| *octet == b'\n').unwrap_or(file.len());
        let (head, text) = file.split_at(line);
        let [archive, kind, content, path @ ..] = head else { return None };
        let text = text.get(1..).unwrap_or_default();
        Some(File { of_job: *archive == b'j', kind: *kind, content: *content, path, text })
    };
    starts.windows(2).filter_map(file).collect()
}

/// A gzipped tar archive of files. `inner` is the archive inside it.
fn archive<'f>(files: impl Iterator<Item = &'f File<'f>>, inner: &[u8]) -> Vec<u8> {
    let digest: String = Sha256::digest(inner).iter().map(|octet| format!("{octet:02x}")).collect();
    let mut tar = tar::Builder::new(Vec::new());
    for file in files {
        let text = replaced(file.text, &format!("sha256:{digest}"));
        let (content, lie) = match file.content {
            b'@' => (inner, 0),
            b'!' => (text.as_slice(), u64::from(u32::MAX)),
            _ => (text.as_slice(), 0),
        };
        let mut header = tar::Header::new_gnu();
        let name = &mut header.as_old_mut().name;
        let length = file.path.len().min(name.len());
        name[..length].copy_from_slice(&file.path[..length]);
        header.set_size(content.len() as u64 + lie);
        header.set_entry_type(tar::EntryType::new(file.kind));
        header.set_cksum();
        tar.append(&header, content).expect("an archive in memory");
    }
    zipped(&tar.into_inner().expect("an archive in memory"))
}

/// The text with `DIGEST` replaced by the digest.
fn replaced(text: &[u8], digest: &str) -> Vec<u8> {
    const PLACE: &[u8] = b"DIGEST";
    let mut rest = text;
    let mut out = Vec::new();
    while let Some(at) = rest.windows(PLACE.len()).position(|window| window == PLACE) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(digest.as_bytes());
        rest = &rest[at + PLACE.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn zipped(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(octets).expect("an archive in memory");
    encoder.finish().expect("an archive in memory")
}
