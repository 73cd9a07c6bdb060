//! The slot's own directory, in which a program keeps its state apart from the user's: whether it
//! can stand there, what must be in it, and how a sign-in gets there.
//!
//! A sign-in that is a file is linked and never copied: a program that renews its tokens renews them
//! for everybody. What a variable names needs nothing here.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io::{self, Write as _},
    os::unix::fs::symlink,
    path::{Component, Path},
};

use super::{
    descriptor::{Descriptor, HomeMode},
    probe::{self, Login},
};
use oodatcaa_sys::files;

/// Looks a variable up, as the program will find it.
pub(crate) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Tells whether the program's state can stand in a slot's directory: not where the only sign-in is a file
/// that nobody knows how to bring there.
pub(crate) fn wanted(descriptor: &Descriptor, variable: Variable<'_>) -> bool {
    let home = &descriptor.home;
    let by_file = || matches!(probe::login(descriptor, variable), Login::File(_));
    home.mode == HomeMode::PerSlot && (!home.links.is_empty() || !by_file())
}

/// Returns the slot's directory, where the program's state can stand in it.
pub(crate) fn usable<'a>(descriptor: &Descriptor, slot: Option<&'a Path>, variable: Variable<'_>) -> Option<&'a Path> {
    let good = |slot: &&Path| !descriptor.home.forbid_under.iter().any(|place| slot.starts_with(place));
    slot.filter(good).filter(|_| wanted(descriptor, variable))
}

/// Returns the variables that move the program's state to this directory.
pub(crate) fn redirected(descriptor: &Descriptor, slot: &Path) -> BTreeMap<String, String> {
    let place = |value: &String| value.replace("{slot}", &slot.to_string_lossy());
    descriptor.home.redirect.iter().map(|(name, value)| (name.clone(), place(value))).collect()
}

/// Makes the directories, files and links that the program needs to find there. Whatever leads out of
/// the slot's directory and is not ours is refused.
pub(crate) fn prepare_home(descriptor: &Descriptor, slot: &Path, variable: Variable<'_>) -> io::Result<()> {
    make_slot(slot)?;
    for place in redirected(descriptor, slot).values() {
        // A variable may also be a plain word.
        if let Ok(below) = Path::new(place).strip_prefix(slot) {
            files::make_dir(slot, &slot.join(below))?;
        }
    }
    let by_file = matches!(probe::login(descriptor, variable), Login::File(_));
    for (name, places) in &descriptor.home.links {
        let at = slot.join(name);
        let there = places.iter().filter_map(|place| probe::place(place, variable)).find(|file| file.is_file());
        files::make_dir(slot, at.parent().unwrap_or(slot))?;
        match there.filter(|_| by_file) {
            Some(file) => link(&at, &std::path::absolute(file)?, descriptor.home.files.get(name))?,
            // Signed in otherwise by now: an old link would bring the old sign-in back.
            None if seen(&at)?.is_some_and(|meta| meta.is_symlink()) => drop(files::remove(slot, &at)?),
            None => {}
        }
    }
    for (name, content) in &descriptor.home.files {
        let at = slot.join(name);
        files::make_dir(slot, at.parent().unwrap_or(slot))?;
        match files::create_new(slot, &at) {
            Err(error) if error.is_taken() => {}
            created => created
                .map_err(io::Error::from)
                .and_then(|mut file| file.write_all(content.as_bytes()))
                .map_err(|error| at_place(&at, &error))?,
        }
    }
    for first in &descriptor.home.first {
        if let Some(file) = first.at.iter().find_map(|place| probe::place(place, variable))
            && let Err(error) = make_first(&file, &first.text)
        {
            // Without our sandbox the program makes it by itself.
            log::info!("cannot make {}: {error}", file.display());
        }
    }
    Ok(())
}

/// Makes a file that the program would make, unless it is there.
fn make_first(file: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    match files::named::create_new(file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created?.write_all(text.as_bytes()),
    }
}

/// Tells whether a path is relative and stays below where it starts.
pub(crate) fn stays_below(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Makes the slot's directory, unless it is there; a link in its place is refused.
fn make_slot(slot: &Path) -> io::Result<()> {
    if seen(slot)?.is_some_and(|meta| meta.is_symlink()) {
        return Err(io::Error::other(format!("{} is a link, and may lead elsewhere", slot.display())));
    }
    Ok(files::make_named_dir(slot)?)
}

/// Returns what stands there itself, not what a link leads to.
fn seen(at: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(at) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at_place(at, &error)),
    }
}

/// Links `at` to the user's file. A file that the program has put in the link's place since, and that
/// is newer than the user's, is its sign-in now.
fn link(at: &Path, file: &Path, ours: Option<&String>) -> io::Result<()> {
    match seen(at)? {
        Some(meta) if meta.is_symlink() => {
            if fs::read_link(at).is_ok_and(|leads| leads == file) {
                return Ok(());
            }
            fs::remove_file(at)?;
        }
        Some(meta) if meta.is_file() => {
            let is_ours = ours.is_some_and(|ours| files::named::text(at).is_ok_and(|text| text == *ours));
            let newer = meta.modified()? > fs::metadata(file)?.modified()?;
            if newer && !is_ours {
                return Ok(());
            }
            fs::remove_file(at)?;
        }
        Some(_) => return Err(io::Error::other(format!("{} is not a file", at.display()))),
        None => {}
    }
    symlink(file, at).map_err(|error| at_place(at, &error))
}

fn at_place(at: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", at.display()))
}

/// Looks up what a configuration sets, then what this process has.
pub(crate) fn lookup(set: &BTreeMap<String, String>) -> impl Fn(&str) -> Option<String> {
    move |name| set.get(name).cloned().or_else(|| std::env::var(name).ok())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::descriptor;

    fn claude() -> Descriptor {
        descriptor::load("claude", &BTreeMap::new()).expect("ships")
    }

    /// A user's home with a sign-in in a file, and a slot.
    struct Place {
        root: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a directory");
            fs::create_dir_all(root.path().join("user/.claude")).expect("made");
            fs::write(root.path().join("user/.claude/.credentials.json"), "{}").expect("written");
            Self { root }
        }

        fn slot(&self) -> PathBuf {
            self.root.path().join("slot")
        }

        fn prepare_home(&self, key: Option<&str>) -> io::Result<()> {
            let home = self.root.path().join("user").display().to_string();
            prepare_home(&claude(), &self.slot(), &move |name| match name {
                "HOME" => Some(home.clone()),
                "ANTHROPIC_API_KEY" => key.map(String::from),
                _ => None,
            })
        }

        fn link(&self) -> PathBuf {
            self.slot().join("claude/.credentials.json")
        }
    }

    #[test]
    fn a_sign_in_that_is_a_file_is_linked_and_goes_when_a_key_takes_its_place() {
        let place = Place::new();
        for _ in 0..2 {
            place.prepare_home(None).expect("a good slot");
            let leads = fs::read_link(place.link()).expect("a link");
            assert_eq!(leads, place.root.path().join("user/.claude/.credentials.json"));
        }
        place.prepare_home(Some("key")).expect("a good slot");
        assert!(fs::symlink_metadata(place.link()).is_err());
        assert!(place.slot().join("claude").is_dir());
    }

    #[test]
    fn a_newer_sign_in_in_the_slot_stays_and_an_older_one_goes() {
        let place = Place::new();
        fs::create_dir_all(place.slot().join("claude")).expect("made");
        fs::write(place.link(), "renewed").expect("written");
        let at = |seconds| std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let file = |path: &Path| fs::File::options().write(true).open(path).expect("there");
        file(&place.link()).set_modified(at(2_000_000_000)).expect("set");
        place.prepare_home(None).expect("a good slot");
        assert_eq!(fs::read_to_string(place.link()).expect("there"), "renewed");
        file(&place.link()).set_modified(at(1_000)).expect("set");
        place.prepare_home(None).expect("a good slot");
        assert_eq!(fs::read_to_string(place.link()).expect("there"), "{}");
    }

    #[test]
    fn links_that_lead_elsewhere_are_refused() {
        let place = Place::new();
        let elsewhere = place.root.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("made");
        symlink(&elsewhere, place.slot()).expect("linked");
        assert!(
            place.prepare_home(None).expect_err("a link").to_string().ends_with("is a link, and may lead elsewhere")
        );
        fs::remove_file(place.slot()).expect("removed");
        fs::create_dir(place.slot()).expect("made");
        symlink(&elsewhere, place.slot().join("claude")).expect("linked");
        place.prepare_home(None).expect_err("a link below the slot");
        assert_eq!(fs::read_dir(&elsewhere).expect("there").count(), 0);
    }

    #[test]
    fn what_a_program_makes_at_its_first_start_is_made_for_it_and_only_once() {
        let place = Place::new();
        let opencode = descriptor::load("opencode", &BTreeMap::new()).expect("ships");
        let home = place.root.path().join("user").display().to_string();
        let prepare = || prepare_home(&opencode, &place.slot(), &|name| (name == "HOME").then(|| home.clone()));
        let file = place.root.path().join("user/.config/opencode/.gitignore");
        prepare().expect("a good slot");
        assert!(fs::read_to_string(&file).expect("made").starts_with("node_modules\n"));
        fs::write(&file, "mine\n").expect("written");
        prepare().expect("a good slot");
        assert_eq!(fs::read_to_string(&file).expect("there"), "mine\n");
        // Where it cannot be made, the program itself says what it needs.
        fs::remove_file(&file).expect("removed");
        fs::remove_dir(file.parent().expect("a directory")).expect("removed");
        fs::write(file.parent().expect("a directory"), "").expect("written");
        prepare().expect("a good slot");
    }

    #[test]
    fn only_names_below_stay_below() {
        assert!(stays_below("a/b.json"));
        for bad in ["", "/a", "../a", "a/../../b", "."] {
            assert!(!stays_below(bad), "{bad}");
        }
    }
}
