//! seccomp: what Landlock does not see. Each rule names what it keeps from whom.

use std::{collections::BTreeMap, io};

use rustix::io::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::{Failed, Means, Network, Profile};

/// System calls and the conditions under which one is refused; without any it always is.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// From `linux/socket.h`; the C library does not name it.
const AF_SMC: i32 = 43;

/// `sendto` and `sendmsg` with it connect without `connect`, which Landlock does not see (`linux/socket.h`).
const MSG_FASTOPEN: u64 = 0x2000_0000;

/// A socket that has it set connects at its first write (`linux/tcp.h`).
const TCP_FASTOPEN_CONNECT: u64 = 30;

/// The kind of a socket is in these bits of its type, beside flags.
const KIND: u64 = 0xf;

fn when(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, BackendError> {
    let all =
        conditions.iter().map(|(argument, how, value)| SeccompCondition::new(*argument, Dword, how.clone(), *value));
    SeccompRule::new(all.collect::<Result<_, _>>()?)
}

/// Refuses to this process, and to all that it starts, what the profile does not leave to it.
pub(super) fn restrict(profile: &Profile, means: Means) -> Result<(), Failed> {
    let failed = |error: String| Failed { step: "restrict its system calls".into(), error: io::Error::other(error) };
    let refused = refused(profile, means).map_err(|error| failed(error.to_string()))?;
    // Programs take another way where a kernel lacks a call, and give up where it is forbidden.
    let absent: Rules = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register]
        .map(|call| (call, Vec::new()))
        .into();
    for (rules, errno) in [(refused, Errno::PERM), (absent, Errno::NOSYS)] {
        let errno = SeccompAction::Errno(errno.raw_os_error().unsigned_abs());
        let program = std::env::consts::ARCH
            .try_into()
            .and_then(|arch| SeccompFilter::new(rules, SeccompAction::Allow, errno, arch))
            .and_then(BpfProgram::try_from)
            .map_err(|error| failed(error.to_string()))?;
        apply_filter(&program).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

fn refused(profile: &Profile, means: Means) -> Result<Rules, BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let mut rules = Rules::new();
    // Limits and priorities of others: a limit of no processor time ends a process as KILL does.
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
    ] {
        rules.insert(call, vec![when(&[(0, Ne, 0)])?]);
    }
    rules.insert(libc::SYS_setpriority, vec![when(&[(1, Ne, 0)])?]);
    rules.insert(libc::SYS_ioprio_set, vec![when(&[(1, Ne, 0)])?]);
    // Keys of the user's session, which know no files.
    for call in [libc::SYS_add_key, libc::SYS_keyctl, libc::SYS_request_key] {
        rules.insert(call, Vec::new());
    }
    // Words put into the input of a terminal are typed by whoever sits there.
    rules.insert(libc::SYS_ioctl, vec![when(&[(1, Eq, libc::TIOCSTI)])?, when(&[(1, Eq, libc::TIOCLINUX)])?]);
    rules.insert(libc::SYS_socket, sockets(profile, means)?);
    if matches!(profile.network, Network::Ports(_)) {
        for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
            rules.insert(call, vec![when(&[(flags, MaskedEq(MSG_FASTOPEN), MSG_FASTOPEN)])?]);
        }
        let connects = [(1, Eq, word(libc::IPPROTO_TCP)), (2, Eq, TCP_FASTOPEN_CONNECT)];
        rules.insert(libc::SYS_setsockopt, vec![when(&connects)?]);
    }
    Ok(rules)
}

/// Returns which sockets are refused.
fn sockets(profile: &Profile, means: Means) -> Result<Vec<SeccompRule>, BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let of = |family: i32| (0, Eq, word(family));
    let mut refused = Vec::new();
    for family in [libc::AF_PACKET, libc::AF_VSOCK, AF_SMC] {
        refused.push(when(&[of(family)])?);
    }
    let internet = [libc::AF_INET, libc::AF_INET6];
    for family in internet {
        refused.push(when(&[of(family), (1, MaskedEq(KIND), word(libc::SOCK_RAW))])?);
        // Landlock's rules for ports know TCP alone.
        for protocol in [libc::IPPROTO_SCTP, libc::IPPROTO_MPTCP] {
            refused.push(when(&[of(family), (2, Eq, word(protocol))])?);
        }
    }
    let none = match &profile.network {
        // A network of its own has nobody else in it.
        Network::None | Network::Proxy(_) => !means.namespace,
        Network::Ports(_) => means.landlock < 4,
        Network::All => false,
    };
    for family in internet.into_iter().filter(|_| none) {
        refused.push(when(&[of(family)])?);
    }
    if matches!(profile.network, Network::Ports(_)) {
        for family in internet {
            refused.push(when(&[of(family), (1, MaskedEq(KIND), word(libc::SOCK_DGRAM))])?);
        }
    }
    if means.forbids_unix(&profile.network) {
        refused.push(when(&[of(libc::AF_UNIX)])?);
    }
    Ok(refused)
}

/// Widens a number of the C library to an argument's word.
fn word(number: i32) -> u64 {
    u64::from(number.unsigned_abs())
}
