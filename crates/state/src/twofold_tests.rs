//! Every way in which a power cut, a disk that refuses and a flipped bit can meet a write, on a simulated file system.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    Format, SealError,
    simulated::{Fault, Image, Safeguard, Simulated},
};

const FORMAT: Format = Format { name: "boshy-example", version: 1 };
const DIRECTORY: &str = "/store/pilot";
const FILE: &str = "/store/pilot/state";
const COPY: &str = "/store/pilot/state.copy";
const OLD: &str = "old";
const NEW: &str = "newer";

fn sealed(content: &str) -> Option<Vec<u8>> {
    Some(FORMAT.seal(content.as_bytes()))
}

/// A disk with these two in the directory.
fn with(file: Option<Vec<u8>>, copy: Option<Vec<u8>>) -> Image {
    let mut image: Image = [("/store".into(), None), (DIRECTORY.into(), None)].into();
    image.extend(file.map(|file| (FILE.into(), Some(file))));
    image.extend(copy.map(|copy| (COPY.into(), Some(copy))));
    image
}

fn damaged(content: &str) -> Option<Vec<u8>> {
    sealed(content).map(|mut octets| {
        octets[3] ^= 1;
        octets
    })
}

fn write_to(disk: &Simulated, content: &str) -> Result<(), StateFileError> {
    write(disk, Path::new(FILE), &FORMAT.seal(content.as_bytes()))
}

/// What the next process begins with.
fn found(disk: &Simulated) -> Result<Option<Found<String>>, ReadError<SealError>> {
    let text = |octets: &[u8]| Ok(String::from_utf8(FORMAT.unseal(octets)?.to_vec()).expect("a text was written"));
    read(disk, Path::new(FILE), text)
}

fn value(image: &Image) -> Result<Option<String>, String> {
    found(&Simulated::of(image)).map(|found| found.map(|found| found.value)).map_err(|error| error.to_string())
}

fn faults(steps: usize, fault: impl Fn(bool) -> Fault) -> Vec<(usize, Fault)> {
    (0..steps).flat_map(|step| [true, false].map(|done| (step, fault(done)))).collect()
}

fn flip(image: &Image, file: &str, bit: usize) -> Image {
    let mut image = image.clone();
    let octets = image.get_mut(Path::new(file)).and_then(Option::as_mut).expect("the file is there");
    octets[bit / 8] ^= 1 << (bit % 8);
    image
}

fn bits(image: &Image, file: &str) -> usize {
    image.get(Path::new(file)).and_then(Option::as_ref).map_or(0, |octets| octets.len() * 8)
}

/// A disk before a write.
struct Before {
    image: Image,
    /// What a reader finds on it.
    value: Option<&'static str>,
}

impl Before {
    fn all() -> [Self; 5] {
        let of = |file, copy, value| Self { image: with(file, copy), value };
        [
            Self { image: Image::new(), value: None },
            of(sealed(OLD), sealed(OLD), Some(OLD)),
            // As the version before left it.
            of(sealed(OLD), None, Some(OLD)),
            of(damaged(OLD), sealed(OLD), Some(OLD)),
            of(sealed(OLD), damaged(OLD), Some(OLD)),
        ]
    }

    fn is_whole(&self) -> bool {
        self.image == with(sealed(OLD), sealed(OLD))
    }

    /// Cuts the power at every step of a write and after it. Returns what is wrong with a disk that is left, if anything.
    fn search(&self, without: Option<Safeguard>) -> Result<usize, String> {
        let disk = || Simulated::of(&self.image).without(without);
        let unhurt = disk();
        write_to(&unhurt, NEW).unwrap();
        let mut left: BTreeSet<_> = unhurt.after_a_power_cut().into_iter().map(|image| (image, true)).collect();
        for (step, fault) in faults(unhurt.steps(), |done| Fault::PowerCut { done }) {
            let disk = disk().with(step, fault);
            write_to(&disk, NEW).unwrap_err();
            left.extend(disk.after_a_power_cut().into_iter().map(|image| (image, false)));
        }
        let checked = left.iter().map(|(image, is_acknowledged)| self.check(image, *is_acknowledged));
        checked.sum()
    }

    /// Checks a disk that is left, also with any bit flipped. Returns how many disks were read.
    fn check(&self, image: &Image, is_acknowledged: bool) -> Result<usize, String> {
        let expected = |image: &Image| match value(image) {
            Ok(Some(value)) if value == NEW => Ok(()),
            Ok(value) if !is_acknowledged && value.as_deref() == self.value => Ok(()),
            other => Err(format!("{other:?}, acknowledged: {is_acknowledged}, {image:?}")),
        };
        expected(image)?;
        is_mended(image)?;
        // A second damage, before the first one was mended, may cost the file.
        if !is_acknowledged && !self.is_whole() {
            return Ok(1);
        }
        let flipped = [FILE, COPY].map(|file| (0..bits(image, file)).map(move |bit| flip(image, file, bit)));
        let flipped: Vec<_> = flipped.into_iter().flatten().collect();
        flipped.iter().try_for_each(expected)?;
        Ok(1 + flipped.len())
    }
}

/// Reading makes both the same, and a power cut meanwhile changes nothing of what they hold.
fn is_mended(image: &Image) -> Result<(), String> {
    let Some(Found { value: before, mend: Some(content), .. }) =
        found(&Simulated::of(image)).map_err(|e| e.to_string())?
    else {
        return Ok(());
    };
    let disk = Simulated::of(image);
    mend(&disk, Path::new(FILE), &content);
    let mended = disk.after_a_power_cut();
    if mended != [with(sealed(&before), sealed(&before))].into() {
        return Err(format!("not mended: {mended:?}"));
    }
    for (step, fault) in faults(disk.steps(), |done| Fault::PowerCut { done }) {
        let disk = Simulated::of(image).with(step, fault);
        mend(&disk, Path::new(FILE), &content);
        let lost = disk.after_a_power_cut().into_iter().find(|image| value(image) != Ok(Some(before.clone())));
        lost.map_or(Ok(()), |image| Err(format!("lost while it was mended: {image:?}")))?;
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_step_and_then_any_flipped_bit_leave_the_old_or_the_new_state_and_the_new_one_once_acknowledged() {
    let read: usize = Before::all().iter().map(|before| before.search(None).unwrap()).sum();
    assert!(read > 5_000, "{read} disks");
}

#[test]
fn each_safeguard_is_missed_when_it_is_taken_out() {
    use Safeguard::{Copy, FlushedContent, FlushedDirectories, FlushedNames};
    for safeguard in [FlushedContent, FlushedNames, FlushedDirectories, Copy] {
        let found = Before::all().iter().filter(|before| before.search(Some(safeguard)).is_err()).count();
        assert!(found > 0, "nothing is lost without {safeguard:?}");
    }
}

#[test]
fn a_disk_that_refuses_any_step_keeps_the_old_or_the_new_state_and_takes_the_next_one() {
    for before in Before::all() {
        let unhurt = Simulated::of(&before.image);
        write_to(&unhurt, NEW).unwrap();
        for (step, fault) in faults(unhurt.steps(), |done| Fault::Refused { done }) {
            let disk = Simulated::of(&before.image).with(step, fault);
            write_to(&disk, NEW).unwrap_err();
            let left = disk.after_a_power_cut().into_iter().chain([disk.image()]);
            for value in left.map(|image| value(&image).unwrap()) {
                assert!(value.as_deref() == before.value || value.as_deref() == Some(NEW), "{value:?} after {step}");
            }
            write_to(&disk, "newest").unwrap();
            assert_eq!(disk.after_a_power_cut(), [with(sealed("newest"), sealed("newest"))].into());
        }
    }
}

#[test]
fn what_is_damaged_twice_is_refused_and_what_is_missing_is_not_brought_back() {
    let refused = value(&with(damaged(OLD), damaged(NEW))).unwrap_err();
    assert!(refused.contains("is no boshy-example file"), "{refused}");
    assert_eq!(value(&with(None, sealed(OLD))), Ok(None), "an operator moved the file away");
}

/// What happens to a disk and to the process on it.
#[derive(Clone, Debug)]
enum Event {
    Write {
        content: String,
        fault: Option<(Index, Fault)>,
    },
    /// The power is cut, the next process reads.
    PowerCut {
        image: Index,
    },
    Flip {
        of_copy: bool,
        bit: Index,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let fault = prop_oneof![
        any::<bool>().prop_map(|done| Fault::PowerCut { done }),
        any::<bool>().prop_map(|done| Fault::Refused { done }),
    ];
    prop_oneof![
        ("[a-z]{0,9}", prop::option::of((any::<Index>(), fault)))
            .prop_map(|(content, fault)| Event::Write { content, fault }),
        any::<Index>().prop_map(|image| Event::PowerCut { image }),
        (any::<bool>(), any::<Index>()).prop_map(|(of_copy, bit)| Event::Flip { of_copy, bit }),
    ]
}

/// A disk, and what a reader may find on it.
struct History {
    image: Image,
    possible: BTreeSet<Option<String>>,
    /// Whether a flipped bit may cost nothing: file and copy are sound.
    is_whole: bool,
}

impl History {
    fn happens(&mut self, event: Event) {
        match event {
            Event::Write { content, fault } => self.is_written(content, fault),
            Event::PowerCut { image } => self.is_cut(&Simulated::of(&self.image), image),
            Event::Flip { of_copy, bit } => {
                let file = if of_copy { COPY } else { FILE };
                let bits = bits(&self.image, file);
                if self.is_whole && bits > 0 {
                    self.image = flip(&self.image, file, bit.index(bits));
                    self.is_whole = false;
                }
            }
        }
    }

    fn is_written(&mut self, content: String, fault: Option<(Index, Fault)>) {
        let unhurt = Simulated::of(&self.image);
        write_to(&unhurt, &content).unwrap();
        let Some((step, fault)) = fault else {
            self.image = unhurt.image();
            (self.possible, self.is_whole) = ([Some(content)].into(), true);
            return;
        };
        let disk = Simulated::of(&self.image).with(step.index(unhurt.steps()), fault);
        write_to(&disk, &content).unwrap_err();
        self.possible.insert(Some(content));
        match fault {
            Fault::PowerCut { .. } => self.is_cut(&disk, step),
            Fault::Refused { .. } => self.image = disk.image(),
        }
    }

    fn is_cut(&mut self, disk: &Simulated, image: Index) {
        let images: Vec<_> = disk.after_a_power_cut().into_iter().collect();
        let disk = Simulated::of(image.get(&images));
        let read = found(&disk).unwrap();
        let value = read.as_ref().map(|read| read.value.clone());
        assert!(self.possible.contains(&value), "{value:?} is none of {:?}", self.possible);
        if let Some(content) = read.and_then(|read| read.mend) {
            mend(&disk, Path::new(FILE), &content);
        }
        self.image = disk.image();
        (self.is_whole, self.possible) = (value.is_some(), [value].into());
    }
}

proptest! {
    #[test]
    fn no_history_of_writes_faults_and_flipped_bits_shows_a_state_that_was_not_written_or_is_older_than_an_acknowledged_one(
        events in prop::collection::vec(event(), 1..12)
    ) {
        let mut history = History { image: Image::new(), possible: [None].into(), is_whole: false };
        for event in events {
            history.happens(event);
        }
    }
}
