//! Starts the program of an attempt: where it is found, what it inherits, where its output goes.

use std::{
    fs::File,
    io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::output::Output;
use crate::{
    Ended,
    confine::{self, Gateway},
    platform,
    wire::{Start, TAG},
};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

/// The place where programs are looked for when the agent's environment says nothing.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Somebody may just be writing the program; that passes.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Starts it; answers its process id, by which the watch will reap it, its output files, and its way to a proxy.
pub(super) fn launch(start: &Start) -> Result<(u32, Output, Option<Gateway>), Ended> {
    let what = &start.invocation;
    let Some((name, arguments)) = what.argv.split_first() else { return Err(failed("no program given".into())) };
    if !what.cwd.is_dir() {
        return Err(failed(format!("{}: no such working directory", what.cwd.display())));
    }
    let program = find(name, what.env.get("PATH").map_or(DEFAULT_PATH, String::as_str), &what.cwd)?;
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| failed(format!("{path}: {error}"))
    };
    let input = what.stdin.as_ref().map(|path| input_of(path).map_err(named(path))).transpose()?;
    let proxy = what.confine.as_ref().map(|profile| confine::proxy_of(profile).map_err(named(profile))).transpose()?;
    let (gateway, input) = match (proxy.flatten(), input) {
        (Some(proxy), input) => {
            let at = |error: io::Error| failed(format!("the way to the proxy {proxy}: {error}"));
            let (gateway, input) = Gateway::new(proxy, input).map_err(at)?;
            (Some(gateway), Stdio::from(input))
        }
        (None, Some(input)) => (None, Stdio::from(input)),
        (None, None) => (None, Stdio::null()),
    };
    let stdout = append(&what.stdout).map_err(named(&what.stdout))?;
    let stderr = append(&what.stderr).map_err(named(&what.stderr))?;
    let mut command = match &what.confine {
        Some(profile) => confine::command(profile, &program),
        None => Command::new(&program),
    };
    // Under the name that was asked for: some programs look at it to know what they are.
    command.arg0(name).args(arguments).current_dir(&what.cwd).process_group(0);
    // The tag last, so that nothing in a configuration can take an agent out of its attempt.
    command.env_clear().envs(&what.env).env(TAG, &start.run_dir);
    command.stdin(input);
    command.stdout(stdout.try_clone().map_err(named(&what.stdout))?);
    command.stderr(stderr.try_clone().map_err(named(&what.stderr))?);

    let mut tries = 0;
    let child = loop {
        match platform::spawn_first_to_go(&mut command) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES => {
                tries += 1;
                thread::sleep(BUSY_PAUSE);
            }
            other => break other.map_err(named(&program))?,
        }
    };
    Ok((child.id(), Output::new([stdout, stderr], &start.limits), gateway))
}

fn failed(error: String) -> Ended {
    Ended::NotStarted { error, not_found: false }
}

/// Opens a log. What an agent has put in its place, a pipe that nobody reads or a link, is refused and never waited
/// for.
fn append(path: &Path) -> io::Result<File> {
    Ok(files::append(Layout::root_of(path), path)?)
}

fn input_of(path: &Path) -> io::Result<File> {
    files::open(Layout::root_of(path), path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Finds a program as a shell in `cwd` with this `PATH` would.
fn find(name: &str, path: &str, cwd: &Path) -> Result<PathBuf, Ended> {
    if name.contains('/') {
        let program = cwd.join(name);
        return if program.exists() {
            Ok(program)
        } else {
            Err(Ended::NotStarted { error: format!("{}: not found", program.display()), not_found: true })
        };
    }
    let mut forbidden = None;
    for dir in path.split(':').filter(|_| !name.is_empty()) {
        let program = cwd.join(dir).join(name);
        match program.metadata() {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => return Ok(program),
            Ok(meta) if meta.is_file() => forbidden = Some(program),
            Ok(_) | Err(_) => {}
        }
    }
    Err(match forbidden {
        Some(program) => failed(format!("{}: not executable", program.display())),
        None => Ended::NotStarted { error: format!("{name}: not found on PATH {path}"), not_found: true },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn not_found(found: &Result<PathBuf, Ended>) -> bool {
        matches!(found, Err(Ended::NotStarted { not_found: true, .. }))
    }

    #[test]
    fn a_bare_name_is_looked_up_on_the_path_in_order() {
        let root = tempfile::tempdir().expect("a directory");
        for (dir, mode) in [("a", 0o644), ("b", 0o755), ("c", 0o755)] {
            fs::create_dir(root.path().join(dir)).expect("a writable directory");
            let program = root.path().join(dir).join("tool");
            fs::write(&program, "#!/bin/sh\n").expect("a writable directory");
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("our own file");
        }
        assert_eq!(find("tool", "/nowhere:a:b:c", root.path()), Ok(root.path().join("b/tool")));
        assert!(matches!(find("tool", "a", root.path()), Err(Ended::NotStarted { not_found: false, .. })));
        assert!(not_found(&find("other", "a:b:c", root.path())));
        assert!(not_found(&find("", "a:b:c", root.path())));
    }

    #[test]
    fn a_name_with_a_slash_is_taken_from_the_working_directory() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("tool"), "").expect("a writable directory");
        assert_eq!(find("./tool", "/bin", root.path()), Ok(root.path().join("./tool")));
        assert_eq!(find("/bin/sh", "", root.path()), Ok(PathBuf::from("/bin/sh")));
        assert!(not_found(&find("./other", "/bin", root.path())));
    }
}
