//! A view of the file system of its own: read-only but for what is named, with masks over what is secret.

#![expect(
    clippy::disallowed_methods,
    reason = "below /proc and in a namespace of its own there is nobody else to hold out"
)]

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::{ffi::OsStringExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use rustix::{
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with},
    thread::{CapabilitySet, clear_ambient_capability_set, remove_capability_from_bounding_set},
};

use super::{Failed, Profile};

/// A mount has no source, type or options of its own.
const NONE: Option<&str> = None;

/// Moves this process into a namespace of users and of mounts, and, where it is to have none, of networks.
pub(super) fn enter(network: bool) -> Result<(), Failed> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let network = if network { CloneFlags::CLONE_NEWNET } else { CloneFlags::empty() };
    let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | network;
    unshare(flags).map_err(Failed::to("make a namespace"))?;
    // It stays who it is: programs ask, and files belong to it. One write for each, as the kernel demands.
    for (file, text) in [("setgroups", "deny".into()), ("uid_map", same(uid)), ("gid_map", same(gid))] {
        let path = Path::new("/proc/self").join(file);
        let written = fs::OpenOptions::new().write(true).open(&path).and_then(|mut to| to.write_all(text.as_bytes()));
        written.map_err(Failed::to(format!("write {}", path.display())))?;
    }
    Ok(())
}

fn same(id: u32) -> String {
    format!("{id} {id} 1")
}

/// Makes everything read-only but what the profile names, and covers what it denies.
pub(super) fn furnish(profile: &Profile) -> Result<(), Failed> {
    // It is in a directory below a mount, which is not what its path leads to by the end of this.
    let here = std::env::current_dir().map_err(Failed::to("find its directory"))?;
    let private = mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE);
    private.map_err(Failed::to("keep its mounts to itself"))?;
    for path in &profile.write {
        bind(path, path)?;
    }
    // What lies in it and may only be read becomes a mount as well.
    let in_written = |path: &&PathBuf| profile.write.iter().any(|write| path.starts_with(write) && *path != write);
    for path in profile.read.iter().filter(in_written) {
        bind(path, path)?;
    }
    cover(profile)?;
    let writable = profile.write.iter().chain(profile.private.iter().map(|(_, to)| to)).map(PathBuf::as_path);
    // Devices bound one by one break pseudo terminals; whom the processes below `/proc` belong to says who writes.
    let writable: Vec<&Path> = writable.chain(["/dev", "/proc"].map(Path::new)).collect();
    let text = fs::read("/proc/self/mountinfo").map_err(Failed::to("list its mounts"))?;
    for (path, kept) in mounts(&text) {
        // The innermost that says something of it decides: a mask in what may be written, or the other way round.
        let innermost = |all: &mut dyn Iterator<Item = &Path>| {
            all.filter(|one| path.starts_with(one)).map(|one| one.as_os_str().len()).max()
        };
        let others = &mut profile.deny.iter().chain(&profile.mask).chain(&profile.read).map(PathBuf::as_path);
        if innermost(&mut writable.iter().copied()) > innermost(others) {
            continue;
        }
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | kept;
        match mount(NONE, &path, NONE, flags, NONE) {
            Ok(()) => {}
            // Another mount lies over it, so that nobody reaches it by its path.
            Err(Errno::ENOENT | Errno::EINVAL | Errno::EACCES | Errno::ENOTDIR) if path != Path::new("/") => {}
            Err(error) => return Err(Failed::to(format!("make {} read-only", path.display()))(error)),
        }
    }
    std::env::set_current_dir(&here).map_err(Failed::to(format!("go back to {}", here.display())))
}

fn bind(from: &Path, to: &Path) -> Result<(), Failed> {
    let done = mount(Some(from), to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE);
    done.map_err(Failed::to(format!("put {} at {}", from.display(), to.display())))
}

/// A directory that masks are made in. Any will do, for it is uncovered again; nobody works below this one.
const MASKS: &str = "/sys";

/// The step in which they are made.
const MAKING: &str = "make masks";

/// The thing that is put in the place of a path.
enum Cover<'a> {
    /// Something of the program's own.
    Private(&'a Path),
    /// Nothing.
    Mask,
    /// The same, put back into what covers it.
    Same(PathBuf),
}

/// Covers what the program is not to see, and puts back what it may see below that: the outer before the inner.
fn cover(profile: &Profile) -> Result<(), Failed> {
    let masks = Path::new(MASKS);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("masks"), masks, Some("tmpfs"), flags, Some("mode=0755,size=1m")).map_err(Failed::to(MAKING))?;
    let (file, unreadable) = (masks.join("file"), fs::Permissions::from_mode(0o000));
    fs::write(&file, "").and_then(|()| fs::set_permissions(&file, unreadable)).map_err(Failed::to(MAKING))?;

    let private = profile.private.iter().map(|(own, at)| (at.as_path(), Cover::Private(own)));
    let masked = profile.mask.iter().chain(&profile.deny).map(|path| (path.as_path(), Cover::Mask));
    let mut covers: Vec<(&Path, Cover<'_>)> = private.chain(masked).collect();
    let below = |path: &Path| covers.iter().any(|(cover, _)| path.starts_with(cover));
    let left = profile.write.iter().chain(&profile.read).map(PathBuf::as_path);
    let left: Vec<&Path> = left.filter(|path| below(path) && path.exists()).collect();
    for (n, path) in left.into_iter().enumerate() {
        let aside = masks.join(format!("aside-{n}"));
        stand_in(path, &aside).map_err(Failed::to(MAKING))?;
        bind(path, &aside)?;
        covers.push((path, Cover::Same(aside)));
    }
    covers.sort_by_key(|(path, _)| *path);
    for (n, (path, cover)) in covers.iter().enumerate() {
        match cover {
            Cover::Private(own) => bind(own, path)?,
            Cover::Same(aside) => {
                if !path.exists() {
                    let above = path.parent().unwrap_or(path);
                    let made = fs::create_dir_all(above).and_then(|()| stand_in(aside, path));
                    made.map_err(Failed::to(format!("make room for {}", path.display())))?;
                }
                bind(aside, path)?;
            }
            // Its kind, wherever a link leads to: a mask covers the file and not the link.
            Cover::Mask => match fs::metadata(path) {
                Ok(found) if found.is_dir() => {
                    let dir = masks.join(format!("mask-{n}"));
                    fs::create_dir(&dir).map_err(Failed::to(MAKING))?;
                    bind(&dir, path)?;
                }
                Ok(_) => bind(&file, path)?,
                // What lies below an outer mask is gone already.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
                Err(error) => return Err(Failed::to(format!("look at {}", path.display()))(error)),
            },
        }
    }
    // What covers something stays; where it was made, it is gone.
    umount2(masks, MntFlags::MNT_DETACH).map_err(Failed::to("put the masks away"))
}

/// Makes something of the same kind, to be covered by it.
fn stand_in(of: &Path, at: &Path) -> io::Result<()> {
    if of.is_dir() { fs::create_dir(at) } else { fs::write(at, "") }
}

/// Reads mount points, each with the flags that nobody in a namespace may take from it (proc_pid_mountinfo(5)).
fn mounts(text: &[u8]) -> Vec<(PathBuf, MsFlags)> {
    let line = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == b' ').skip(4);
        let (path, options) = (words.next()?, words.next()?);
        let flags = options.split(|byte| *byte == b',').map(|option| match option {
            b"nosuid" => MsFlags::MS_NOSUID,
            b"nodev" => MsFlags::MS_NODEV,
            b"noexec" => MsFlags::MS_NOEXEC,
            b"noatime" => MsFlags::MS_NOATIME,
            b"nodiratime" => MsFlags::MS_NODIRATIME,
            b"relatime" => MsFlags::MS_RELATIME,
            _ => MsFlags::empty(),
        });
        Some((unescaped(path), flags.fold(MsFlags::empty(), |all, one| all | one)))
    };
    text.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Returns a path without the escapes of mountinfo: three octal digits after a backslash.
fn unescaped(path: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(plain).into()
}

/// Takes the rights of root for good: as root, or in a namespace, masks could else be taken away again.
pub(super) fn drop_capabilities() -> Result<(), Failed> {
    let failed = || Failed::to("give up capabilities");
    clear_ambient_capability_set().map_err(failed())?;
    for bit in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            // Not one that this kernel knows, or one that was not ours to drop: then it is not ours to use either.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => {}
            Err(error) => return Err(failed()(error)),
        }
    }
    Ok(())
}

/// Starts the loopback of a network of its own, so that a program reaches its own servers.
pub(super) fn raise_loopback() -> Result<(), Failed> {
    let failed = || Failed::to::<io::Error>("start the loopback");
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(|error| failed()(error.into()))?;
    send(&socket, &UP, SendFlags::empty()).map_err(|error| failed()(error.into()))?;
    let mut answer = [0; 64];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty()).map_err(|error| failed()(error.into()))?;
    // An answer to it is a header of 16 bytes and a number: 0, or an error below it (netlink(7)).
    match answer.get(16..20).filter(|_| length >= 20).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        code => Err(failed()(io::Error::from_raw_os_error(code.map_or(libc::EPROTO, i32::wrapping_neg)))),
    }
}

/// `RTM_NEWLINK` (16) with `NLM_F_REQUEST | NLM_F_ACK` (5): interface 1 gets `IFF_UP` (1), and only that changes
/// (rtnetlink(7)).
const UP: [u8; 32] = {
    let mut message = [0; 32];
    let words: [(usize, u32); 4] = [(0, 32), (20, 1), (24, 1), (28, 1)];
    let mut n = 0;
    while n < words.len() {
        let bytes = words[n].1.to_ne_bytes();
        let mut i = 0;
        while i < 4 {
            message[words[n].0 + i] = bytes[i];
            i += 1;
        }
        n += 1;
    }
    let (kind, flags) = (16_u16.to_ne_bytes(), 5_u16.to_ne_bytes());
    (message[4], message[5], message[6], message[7]) = (kind[0], kind[1], flags[0], flags[1]);
    message
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_spaces_and_the_flags_that_stay() {
        let text = b"22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
            30 22 0:25 / /mnt/a\\040b\\134c rw,nosuid,nodev,noexec,noatime shared:1 - tmpfs tmpfs rw\n";
        let relatime = MsFlags::MS_RELATIME;
        let all = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
        assert_eq!(mounts(text), [(PathBuf::from("/"), relatime), (PathBuf::from("/mnt/a b\\c"), all)]);
    }
}
