//! Creates releases for tests, in the CLI's format.

use std::{fmt::Write as _, io::Write as _};

use flate2::{Compression, write::GzEncoder};

use ring::digest;

/// A gzipped tar archive of files.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("./{path}"), *content).unwrap();
    }
    let mut encoder = builder.into_inner().unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

/// A release to be created.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) commit_hash: &'static str,
    /// Name and files of each job.
    pub(crate) jobs: Vec<(String, Vec<(String, String)>)>,
    /// Name, content and dependencies of each package.
    pub(crate) packages: Vec<(&'static str, &'static str, Vec<&'static str>)>,
    /// Packages whose archives are omitted.
    pub(crate) left_out: Vec<&'static str>,
}

impl Draft {
    pub(crate) fn new(name: &'static str, version: &'static str) -> Self {
        let (jobs, packages, left_out) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, version, commit_hash: "4c36884a", jobs, packages, left_out }
    }

    /// Adds a job: its `job.MF` without the name, and its templates by source.
    pub(crate) fn job(mut self, name: &str, manifest: &str, templates: &[(&str, &str)]) -> Self {
        let mut files = vec![("job.MF".to_owned(), format!("name: {name}\n{manifest}\n"))];
        files.push(("monit".to_owned(), "check process <%= spec.job.name %>".to_owned()));
        files.extend(templates.iter().map(|(source, text)| (format!("templates/{source}"), (*text).to_owned())));
        self.jobs.push((name.to_owned(), files));
        self
    }

    pub(crate) fn package(mut self, name: &'static str, content: &'static str, needs: &[&'static str]) -> Self {
        self.packages.push((name, content, needs.to_vec()));
        self
    }

    /// The tarball. Fingerprints are digests of the archives.
    pub(crate) fn tarball(&self) -> Vec<u8> {
        let mut manifest = format!(
            "name: {}\nversion: {}\ncommit_hash: {}\nuncommitted_changes: false\njobs:\n",
            self.name, self.version, self.commit_hash
        );
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let part = |manifest: &mut String, name: &str, archive: &[u8]| {
            let digest = sha1_hex(archive);
            writeln!(manifest, "- name: {name}\n  version: v{digest}\n  fingerprint: f{digest}\n  sha1: {digest}")
                .unwrap();
        };
        for (name, contents) in &self.jobs {
            let contents: Vec<_> = contents.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
            let bytes = archive(&contents);
            part(&mut manifest, name, &bytes);
            files.push((format!("jobs/{name}.tgz"), bytes));
        }
        manifest += "packages:\n";
        for (name, content, needs) in &self.packages {
            let bytes = archive(&[("packaging", content.as_bytes())]);
            part(&mut manifest, name, &bytes);
            writeln!(manifest, "  dependencies: [{}]", needs.join(", ")).unwrap();
            if !self.left_out.contains(name) {
                files.push((format!("packages/{name}.tgz"), bytes));
            }
        }
        manifest += "license: {version: x, fingerprint: x, sha1: x}\n";
        // The CLI may write the manifest at any position; the last one is the hardest case.
        files.push(("release.MF".to_owned(), manifest.into_bytes()));
        let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        archive(&files)
    }
}

/// SHA-1 in hex.
pub(crate) fn sha1_hex(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}
