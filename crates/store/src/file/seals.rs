//! The user's key, and with it the seals of events that allow something.

use std::{
    io,
    path::{Path, PathBuf},
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{
    Event,
    seal::{self, Key},
};
use oodatcaa_sys::files::{self, named};

/// Seals and checks the events of one project.
#[derive(Debug, Default)]
pub(super) struct Seals {
    /// The directory of the user's own state, and the project's name in it; none where there is no such place.
    place: Option<(PathBuf, String)>,
    key: Option<Key>,
}

impl Seals {
    pub(super) fn of(layout: &Layout) -> Self {
        let name = layout.user_state().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let place = layout.user_base().map(Path::to_owned).zip(name);
        Self { place, key: None }
    }

    /// Puts a seal on what needs one. Without a key it stays without, and will not count.
    pub(super) fn seal(&mut self, event: &mut Event) {
        if !seal::allows(event) {
            return;
        }
        event.sealed = false;
        if let Some((key, project)) = self.key(true) {
            event.set_seal(key.seal(project, event));
        } else if self.place.is_none() {
            let kind = event.kind();
            log::warn!("{kind} will not count: neither HOME nor XDG_STATE_HOME says where your key is");
        }
    }

    /// Notes on an event out of the journal whether this user's programs wrote it.
    pub(super) fn check(&mut self, event: &mut Event) {
        if seal::allows(event) && self.place.is_some() {
            event.sealed = self.key(false).is_some_and(|(key, project)| key.holds(project, event));
        }
    }

    /// Returns the key, and the project's name; it is made where it is wanted and there is none. Others may make it any
    /// time, so its absence is not remembered.
    fn key(&mut self, wanted: bool) -> Option<(&Key, &str)> {
        let (base, project) = self.place.as_ref()?;
        if self.key.is_none() {
            self.key = read(base).or_else(|| if wanted { make(base) } else { None });
        }
        Some((self.key.as_ref()?, project))
    }
}

fn read(base: &Path) -> Option<Key> {
    match files::read_granting(base, &base.join("key"), Key::BYTES as u64) {
        Ok(bytes) => bytes.and_then(|bytes| Key::of(&bytes)),
        Err(error) => {
            log::warn!("approvals cannot be checked: failed to {error}: {}", error.why);
            None
        }
    }
}

fn make(base: &Path) -> Option<Key> {
    let path = base.join("key");
    let done = || -> io::Result<()> {
        files::make_named_dir(base)?;
        let mut bytes = [0; Key::BYTES];
        // So few bytes the kernel gives at once, or none.
        if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())? < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Whole or not at all, since a reader must never find half a key.
        match named::write_new(&path, bytes, 0o600) {
            // Another process was faster: its key is the key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    };
    match done() {
        Ok(()) => read(base),
        Err(error) => {
            log::warn!("what you allow will not count: failed to write {}: {error}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use oodatcaa_core::{
        Data, EventDraft,
        event::{Actor, payload::Decided},
    };

    #[test]
    fn what_one_process_seals_another_believes_and_a_forged_one_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = |project: &str| Layout::new("/p").kept_in(dir.path().join("state/projects").join(project));
        let approved = Decided { verdict: Some("approved".into()), ..Decided::default() };
        let draft = EventDraft::new(Data::DecisionResolved(approved), Actor::Human("me@tty".into()));
        let mut event = Event::number(draft, 1, chrono::DateTime::UNIX_EPOCH, "");
        let mut forged = event.clone();
        Seals::of(&layout("a")).check(&mut forged);
        assert!(!forged.sealed, "no key yet");
        Seals::of(&layout("a")).seal(&mut event);
        let key = dir.path().join("state/key");
        let meta = key.metadata().expect("made at first use");
        assert_eq!((meta.len(), meta.mode() & 0o777), (Key::BYTES as u64, 0o600));
        let believed = |project: &str, mut event: Event| {
            event.sealed = false;
            Seals::of(&layout(project)).check(&mut event);
            event.sealed
        };
        assert!(believed("a", event.clone()) && !believed("b", event.clone()) && !believed("a", forged));
        let mut alone = event.clone();
        Seals::of(&Layout::new("/p")).seal(&mut alone);
        assert!(!alone.sealed, "without a place for a key nothing is allowed");
    }
}
