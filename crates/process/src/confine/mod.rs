//! Confines a program: our own program in a hidden mode that takes rights from itself, and then becomes the program.
//!
//! `agent-daemon confine RUN/sandbox.json -- PROGRAM ARGUMENTS…`. One thread, in this order, because each step takes
//! away what the next one would lack the other way round: namespace, read-only mounts and masks, loopback, bounding
//! set, Landlock, seccomp, exec. Nothing stays between the shim and the program: number, tag and group are the same.
//!
//! ```text
//!   profile.rs   what is asked for, and what a machine can give: pure
//!   space.rs     a view of the file system of its own     (where the machine allows namespaces)
//!   proxy.rs     the one way out of a network of its own
//!   landlock.rs  what may be written, read, signalled, connected to
//!   seccomp.rs   what Landlock does not see
//! ```
//!
//! It fails closed: without a report that says `applied`, the program did not run.

mod landlock;
mod profile;
mod proxy;
mod seccomp;
mod space;

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode},
};

use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

pub(crate) use proxy::Gateway;

pub use profile::{Guarantee, Means, Network, Profile, Report, given};

/// The argument that makes a program of ours confine itself.
pub const MODE: &str = "confine";

/// The exit status when the confinement failed, and nothing was executed.
const NOT_CONFINED: u8 = 125;

/// The exit status when the program could not be executed, as a shell has it.
const NOT_EXECUTED: u8 = 127;

/// This program, whatever became of its file: the link holds where it was replaced.
const OURSELVES: &str = "/proc/self/exe";

/// Returns the command that confines itself by a profile and becomes a program, which may be a bare name. Only where
/// this program has the mode.
pub fn command(profile: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(OURSELVES);
    command.arg(MODE).arg(profile).arg("--").arg(program);
    command
}

/// Returns the version of Landlock that this kernel has; 0 where there is none.
pub fn landlock() -> u32 {
    landlock::version(None)
}

/// A step that failed, in words that go on with "failed to".
#[derive(Debug)]
struct Failed {
    step: String,
    error: io::Error,
}

impl Failed {
    fn to<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        let step = step.into();
        |error| Self { step, error: error.into() }
    }
}

/// Confines this process and becomes the program. Nothing but `agent-daemon` calls this.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(2);
    let (Some(profile), Some(_), Some(program)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return ExitCode::from(64);
    };
    match run(profile.as_ref(), &program, arguments.collect()) {
        Ok(never) => match never {},
        Err((code, Failed { step, error })) => {
            let _ = writeln!(io::stderr(), "confine: failed to {step}: {error}");
            ExitCode::from(code)
        }
    }
}

fn run(profile: &Path, program: &OsString, arguments: Vec<OsString>) -> Result<std::convert::Infallible, (u8, Failed)> {
    let fatal = |failed| (NOT_CONFINED, failed);
    let (profile, mut to) = open(profile).map_err(fatal)?;
    let mut report = Report::default();
    fail::fail_point!("confine");
    let confined = confine(&profile, &mut report);
    if let Err(Failed { step, error }) = &confined {
        report.error = Some(format!("failed to {step}: {error}"));
    }
    report.applied = confined.is_ok();
    // What was opened before stays writable; the path is none of the program's.
    write(&mut to, &report).map_err(fatal)?;
    confined.map_err(fatal)?;
    let error = Command::new(program).args(arguments).exec();
    report.exec = Some(error.to_string());
    let _ = write(&mut to, &report);
    Err((NOT_EXECUTED, Failed { step: format!("execute {}", Path::new(program).display()), error }))
}

/// Returns the proxy that a profile keeps its program to, if it does.
pub(crate) fn proxy_of(profile: &Path) -> io::Result<Option<std::net::SocketAddr>> {
    Ok(match read(profile)?.network {
        Network::Proxy(at) => Some(at),
        _ => None,
    })
}

fn read(path: &Path) -> io::Result<Profile> {
    let text = files::read(Layout::root_of(path), path, files::RECORD)?.ok_or(io::ErrorKind::NotFound)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Reads the profile, and makes the file of the report while it can still be made.
fn open(path: &Path) -> Result<(Profile, File), Failed> {
    let profile = read(path).map_err(Failed::to(format!("read the profile {}", path.display())))?;
    let report = files::create_new(Layout::root_of(&profile.report), &profile.report).map_err(io::Error::from);
    let report = report.map_err(Failed::to(format!("make {}", profile.report.display())))?;
    Ok((profile, report))
}

fn write(to: &mut File, report: &Report) -> Result<(), Failed> {
    let text = serde_json::to_vec(report).expect("a report is JSON");
    let written = to.rewind().and_then(|()| to.set_len(0)).and_then(|()| to.write_all(&text));
    written.map_err(Failed::to("write the report"))
}

/// Takes from this process what the profile does not leave to it.
fn confine(profile: &Profile, report: &mut Report) -> Result<(), Failed> {
    let own_network = matches!(profile.network, Network::None | Network::Proxy(_));
    let input = match profile.network {
        Network::Proxy(_) => Some(proxy::Input::take()?),
        _ => None,
    };
    if profile.namespace {
        match space::enter(own_network) {
            Ok(()) => report.means.namespace = true,
            // The means that are left are stricter ones; what they cannot give is asked for below.
            Err(Failed { step, error }) => report.refused = Some(format!("failed to {step}: {error}")),
        }
    }
    report.means.landlock = landlock::version(profile.most);
    let means = report.means;
    report.guarantees = given(means, profile);
    let missing: BTreeSet<_> = profile.require.difference(&report.guarantees).collect();
    if let Some(first) = missing.first() {
        let all: Vec<&str> = missing.iter().map(|one| one.as_str()).collect();
        let error = io::Error::new(io::ErrorKind::Unsupported, first.cannot());
        return Err(Failed { step: format!("give the guarantee {}", all.join(", ")), error });
    }
    if let (Some(_), false) = (&input, means.namespace) {
        let error = io::Error::new(io::ErrorKind::Unsupported, "a network of its own needs a namespace");
        return Err(Failed { step: "keep the program to a proxy".into(), error });
    }
    if means.namespace {
        space::furnish(profile)?;
        if own_network {
            space::raise_loopback()?;
        }
        if let (Some(input), Network::Proxy(proxy)) = (input, &profile.network) {
            input.listen(Network::inside(*proxy))?;
        }
    }
    // As root, or in a namespace, the program could else undo all of it.
    space::drop_capabilities()?;
    landlock::restrict(profile, means)?;
    seccomp::restrict(profile, means)
}
