//! A file system for tests: any step may fail or be the last one before a power cut, which forgets what was not flushed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::medium::{Medium, PART};

/// What becomes of one step. A write of n octets is n steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power is cut: the step is the last one, and is done or not.
    PowerCut { done: bool },
    /// The step is refused, after it was done or not, and later ones are not.
    Refused { done: bool },
}

/// A safeguard that this file system can do without, to show that the tests notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safeguard {
    FlushedContent,
    FlushedNames,
    FlushedDirectories,
    Copy,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Directory,
    /// Number of a file.
    File(usize),
}

/// A change of names that is not flushed.
#[derive(Clone, Debug)]
enum Change {
    Added(PathBuf, Entry),
    Removed(PathBuf),
    Renamed(PathBuf, PathBuf, usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    octets: Vec<u8>,
    /// As it was when it was flushed last.
    flushed: Option<Vec<u8>>,
}

/// The names that lead to something, and the content of files. Two that are equal look the same to a reader.
pub(crate) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What a power cut leaves of the content of a file, of which this number of octets are as they were flushed.
type Forget = fn(&Content, usize) -> Vec<u8>;

#[derive(Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, Entry>,
    flushed: BTreeMap<PathBuf, Entry>,
    unflushed: Vec<Change>,
    steps: usize,
    is_off: bool,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Simulated {
    state: RefCell<State>,
    fault: Option<(usize, Fault)>,
    without: Option<Safeguard>,
}

/// A file that is being written.
pub(crate) struct Part {
    name: PathBuf,
    file: usize,
}

impl Simulated {
    /// What is on this disk after a power cut, with everything flushed. `None` for a directory.
    pub(crate) fn of(image: &Image) -> Self {
        let disk = Self::default();
        let mut state = disk.state.borrow_mut();
        for (path, content) in image {
            let entry = match content {
                None => Entry::Directory,
                Some(octets) => {
                    state.files.push(Content::flushed(octets.clone()));
                    Entry::File(state.files.len() - 1)
                }
            };
            state.names.insert(path.clone(), entry);
        }
        state.flushed = state.names.clone();
        drop(state);
        disk
    }

    /// One of whose steps this becomes.
    pub(crate) fn with(self, step: usize, fault: Fault) -> Self {
        Self { fault: Some((step, fault)), ..self }
    }

    /// The same without a safeguard.
    pub(crate) fn without(self, safeguard: Option<Safeguard>) -> Self {
        Self { without: safeguard, ..self }
    }

    /// Steps that were taken.
    pub(crate) fn steps(&self) -> usize {
        self.state.borrow().steps
    }

    /// What a reader finds now.
    pub(crate) fn image(&self) -> Image {
        let state = self.state.borrow();
        image(&state.names, &state.files)
    }

    /// Everything that may be on the disk when the power is cut now.
    pub(crate) fn after_a_power_cut(&self) -> BTreeSet<Image> {
        let state = self.state.borrow();
        let forgotten: [Forget; 5] = [
            |content, _| content.octets.clone(),
            |content, _| content.flushed.clone().unwrap_or_default(),
            |content, same| content.octets[..same].to_vec(),
            |content, same| content.octets[..(content.octets.len() + same) / 2].to_vec(),
            |content, same| [&content.octets[..same], &vec![0; content.octets.len() - same]].concat(),
        ];
        let kept = 0..1_usize << state.unflushed.len();
        let images = kept.flat_map(|kept| {
            let mut names = state.flushed.clone();
            let chosen = state.unflushed.iter().enumerate().filter(|(index, _)| kept & (1 << index) != 0);
            chosen.for_each(|(_, change)| change.apply(&mut names));
            let all = names.clone();
            names
                .retain(|name, _| name.parent().is_none_or(|above| above == Path::new("/") || all.contains_key(above)));
            forgotten.map(|forget| {
                let files = state.files.iter().map(|file| Content::flushed(forget(file, file.same())));
                image(&names, &files.collect::<Vec<_>>())
            })
        });
        images.collect()
    }

    fn flush_content(&self, file: usize) -> io::Result<()> {
        let counts = self.without != Some(Safeguard::FlushedContent);
        self.step(|state| {
            if counts {
                state.flush(file);
            }
        })
    }

    /// The number of a file of this name, which is made if it is missing.
    fn opened(&self, path: &Path) -> io::Result<usize> {
        if let Some(Entry::File(file)) = self.state.borrow().names.get(path) {
            return Ok(*file);
        }
        self.step(|state| {
            state.files.push(Content::default());
            let file = state.files.len() - 1;
            state.change(Change::Added(path.to_owned(), Entry::File(file)));
            file
        })
    }

    /// Takes a step.
    fn step<T>(&self, act: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let mut state = self.state.borrow_mut();
        if state.is_off {
            return Err(io::Error::other("the power is off"));
        }
        let fault = self.fault.filter(|(step, _)| *step == state.steps).map(|(_, fault)| fault);
        state.steps += 1;
        match fault {
            None => Ok(act(&mut state)),
            Some(Fault::PowerCut { done }) => {
                if done {
                    act(&mut state);
                }
                state.is_off = true;
                Err(io::Error::other("the power is off"))
            }
            Some(Fault::Refused { done }) => {
                if done {
                    act(&mut state);
                }
                Err(ErrorKind::StorageFull.into())
            }
        }
    }
}

/// What a reader finds. Files that are not completely written have names that nobody reads.
fn image(names: &BTreeMap<PathBuf, Entry>, files: &[Content]) -> Image {
    let is_part = |name: &Path| name.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PART));
    let read = names.iter().filter(|(name, _)| !is_part(name));
    let content = |entry: &Entry| match entry {
        Entry::Directory => None,
        Entry::File(file) => Some(files[*file].octets.clone()),
    };
    read.map(|(name, entry)| (name.clone(), content(entry))).collect()
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Added(name, entry) => drop(names.insert(name.clone(), *entry)),
            Self::Removed(name) => drop(names.remove(name)),
            Self::Renamed(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), Entry::File(*file));
            }
        }
    }

    fn name(&self) -> &Path {
        match self {
            Self::Added(name, _) | Self::Removed(name) | Self::Renamed(_, name, _) => name,
        }
    }
}

impl Content {
    fn flushed(octets: Vec<u8>) -> Self {
        Self { flushed: Some(octets.clone()), octets }
    }

    /// Number of octets at the beginning that are as they were when it was flushed.
    fn same(&self) -> usize {
        let flushed = self.flushed.iter().flatten();
        self.octets.iter().zip(flushed).take_while(|(now, then)| now == then).count()
    }
}

impl State {
    fn flush(&mut self, file: usize) {
        let content = &mut self.files[file];
        content.flushed = Some(content.octets.clone());
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.unflushed.push(change);
    }
}

impl Medium for Simulated {
    type Part = Part;

    fn has_directory(&self, directory: &Path) -> bool {
        directory == Path::new("/") || self.state.borrow().names.get(directory) == Some(&Entry::Directory)
    }

    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        self.step(|state| state.change(Change::Added(directory.to_owned(), Entry::Directory)))
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.step(|state| state.change(Change::Removed(directory.to_owned())))
    }

    fn begin(&self, directory: &Path) -> io::Result<Part> {
        self.step(|state| {
            let file = state.files.len();
            let name = directory.join(format!("{PART}{file}"));
            state.files.push(Content::default());
            state.change(Change::Added(name.clone(), Entry::File(file)));
            Part { name, file }
        })
    }

    fn write(&self, part: &mut Part, content: &[u8]) -> io::Result<()> {
        content.iter().try_for_each(|octet| self.step(|state| state.files[part.file].octets.push(*octet)))
    }

    fn flush(&self, part: &Part) -> io::Result<()> {
        self.flush_content(part.file)
    }

    fn rename(&self, part: Part, path: &Path) -> io::Result<()> {
        let is_copy = path.extension().is_some_and(|extension| extension == "copy");
        if is_copy && self.without == Some(Safeguard::Copy) {
            return Ok(());
        }
        self.step(|state| state.change(Change::Renamed(part.name, path.to_owned(), part.file)))
    }

    fn flush_directory(&self, directory: &Path) -> io::Result<()> {
        let is_file = |change: &Change| matches!(change, Change::Renamed(..) | Change::Added(_, Entry::File(_)));
        let is_of_files = self.state.borrow().unflushed.iter().any(is_file);
        let safeguard = if is_of_files { Safeguard::FlushedNames } else { Safeguard::FlushedDirectories };
        let counts = self.without != Some(safeguard);
        self.step(|state| {
            if !counts {
                return;
            }
            let (now, later): (Vec<_>, Vec<_>) =
                state.unflushed.drain(..).partition(|change| change.name().parent() == Some(directory));
            now.iter().for_each(|change| change.apply(&mut state.flushed));
            state.unflushed = later;
        })
    }

    fn append(&self, path: &Path, length: u64, content: &[u8]) -> io::Result<()> {
        let is_copy = path.extension().is_some_and(|extension| extension == "copy");
        if is_copy && self.without == Some(Safeguard::Copy) {
            return Ok(());
        }
        let file = self.opened(path)?;
        self.step(|state| state.files[file].octets.resize(length as usize, 0))?;
        content.iter().try_for_each(|octet| self.step(|state| state.files[file].octets.push(*octet)))?;
        self.flush_content(file)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.borrow();
        match state.names.get(path) {
            Some(Entry::File(file)) => Ok(state.files[*file].octets.clone()),
            Some(Entry::Directory) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }
}
