//! Large files (`git-lfs`): what an agent's filter has put beside its repository is put beside ours, by its digest.
//!
//! The other way nothing is to be done: `git-lfs` looks beside the objects that a repository borrows.

use std::{
    io::{Read as _, Write as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::{
    fault::{Result, failed},
    repo::make_dir,
};
use oodatcaa_core::text;
use oodatcaa_sys::files::{self, Kind, named};

/// The number of files that one attempt may have made.
const MOST: usize = 100_000;

/// Below a repository, and then `ab/cd/abcd…`.
const OBJECTS: &str = "lfs/objects";

/// Copies what is new and is what its name says.
pub(super) fn receive(own: &Path, common: &Path) -> Result<()> {
    let (objects, mut seen) = (Path::new(OBJECTS), 0);
    let below = |dir: &Path, kind: Kind| {
        let all = files::list(own, dir, MOST).ok().flatten().unwrap_or_default();
        all.into_iter().filter(move |entry| entry.kind == kind).map(|entry| entry.name)
    };
    for one in below(objects, Kind::Directory) {
        for two in below(&objects.join(&one), Kind::Directory) {
            let dir = objects.join(&one).join(&two);
            for name in below(&dir, Kind::File) {
                seen += 1;
                let Some(name) = name.to_str().filter(|_| seen <= MOST) else { continue };
                let is_its_place = name.len() == 64 && one == name[..2] && two == name[2..4];
                if is_its_place && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    copy(own, common, &dir, name)?;
                }
            }
        }
    }
    Ok(())
}

fn copy(own: &Path, common: &Path, dir: &Path, name: &str) -> Result<()> {
    let to = common.join(dir).join(name);
    if to.symlink_metadata().is_ok() {
        return Ok(());
    }
    let Some(mut from) = files::open(own, &dir.join(name)).ok().flatten() else { return Ok(()) };
    make_dir(&common.join(dir))?;
    let new = common.join(dir).join(format!(".{name}.oodatcaa"));
    let wrong = || failed("write", &new);
    named::remove(&new).map_err(wrong())?;
    let mut made = named::create_new(&new).map_err(wrong())?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let length = from.read(&mut buffer).map_err(failed("read", own.join(dir).join(name)))?;
        if length == 0 {
            break;
        }
        digest.update(&buffer[..length]);
        made.write_all(&buffer[..length]).map_err(wrong())?;
    }
    if text::hex(&digest.finalize()) == name {
        return named::rename(&new, &to).map_err(failed("write", &to));
    }
    log::warn!("{} is not what its name says, and stays behind", own.join(dir).join(name).display());
    named::remove(&new).map(drop).map_err(wrong())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_its_name_says_comes_along_and_nothing_else() {
        let (own, common) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let put = |name: &str, content: &str| {
            let dir = own.path().join(OBJECTS).join(&name[..2]).join(&name[2..4]);
            fs::create_dir_all(&dir).expect("made");
            fs::write(dir.join(name), content).expect("written");
        };
        let good = text::hex(&Sha256::digest("good"));
        put(&good, "good");
        let bad = text::hex(&Sha256::digest("other"));
        put(&bad, "bad");
        put("abcd-is-none", "x");
        std::os::unix::fs::symlink("/etc", own.path().join(OBJECTS).join("zz")).expect("a link");
        for _ in 0..2 {
            receive(own.path(), common.path()).expect("taken in");
        }
        let at = |name: &str| common.path().join(OBJECTS).join(&name[..2]).join(&name[2..4]).join(name);
        assert_eq!(fs::read_to_string(at(&good)).expect("there"), "good");
        assert!(!at(&bad).exists());
        assert_eq!(fs::read_dir(at(&bad).parent().expect("above")).expect("made").count(), 0);
        assert_eq!(fs::read_dir(common.path().join(OBJECTS)).expect("made").count(), 2);
    }
}
