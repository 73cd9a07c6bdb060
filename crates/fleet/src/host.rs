//! What the fleet asks of the machine: where the user manager is, who we are, what the login shell's `PATH` is.
//!
//! Gathered once and passed down, so that tests can show another machine.

use std::{
    env, fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::units::joined_path;

/// The machine as a user's fleet sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Exists where PID 1 is systemd.
    pub booted: PathBuf,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: PathBuf,
    /// `~/.config` or `$XDG_CONFIG_HOME`.
    pub config_home: PathBuf,
    /// The program to talk to the manager with.
    pub systemctl: PathBuf,
    /// Exists when the user's manager outlives the session; `None` when the user's name is not known.
    pub linger: Option<PathBuf>,
    /// `$PATH`.
    pub path: String,
    /// `$SHELL`.
    pub shell: Option<PathBuf>,
}

/// What a program that was asked something said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Exit status 0.
    pub(crate) ok: bool,
    /// The exit status, where it is one.
    pub(crate) code: Option<i32>,
    /// Standard output, trimmed.
    pub(crate) out: String,
    /// Standard error, trimmed.
    pub(crate) err: String,
}

impl Host {
    /// Returns the host that we run on.
    pub fn here() -> Self {
        let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let home = var("HOME").map_or_else(|| "/".into(), PathBuf::from);
        let uid = rustix::process::getuid().as_raw();
        let user = var("USER").or_else(|| var("LOGNAME")).and_then(|name| name.into_string().ok());
        Self {
            booted: "/run/systemd/system".into(),
            runtime_dir: var("XDG_RUNTIME_DIR").map_or_else(|| format!("/run/user/{uid}").into(), PathBuf::from),
            config_home: var("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from),
            systemctl: "systemctl".into(),
            linger: user.filter(|name| !name.contains('/')).map(|name| Path::new("/var/lib/systemd/linger").join(name)),
            path: var("PATH").and_then(|path| path.into_string().ok()).unwrap_or_default(),
            shell: var("SHELL").map(PathBuf::from).filter(|shell| shell.is_absolute()),
        }
    }

    /// Returns where the user's units lie.
    pub fn units(&self) -> PathBuf {
        self.config_home.join("systemd/user")
    }

    /// Returns why the systemd user manager cannot be used; `Ok` when it works.
    ///
    /// `systemctl` on the `PATH` proves nothing: it is there in containers and under `su`, too.
    pub(crate) fn manager(&self) -> Result<(), String> {
        if !self.booted.is_dir() {
            return Err("this machine was not booted with systemd".into());
        }
        let socket = self.runtime_dir.join("systemd/private");
        if !fs::metadata(&socket).is_ok_and(|meta| meta.file_type().is_socket()) {
            return Err("no systemd user manager runs for this user".into());
        }
        let answer = self.systemctl(&["is-system-running"], Duration::from_secs(5))?;
        match answer.out.as_str() {
            "running" | "degraded" | "starting" | "initializing" => Ok(()),
            "" => Err(format!("the systemd user manager does not answer: {}", answer.err)),
            state => Err(format!("the systemd user manager is {state}")),
        }
    }

    /// Asks the user manager.
    pub(crate) fn systemctl(&self, args: &[&str], within: Duration) -> Result<Answer, String> {
        let mut command = Command::new(&self.systemctl);
        command.args(["--user", "--no-pager"]).args(args);
        // What it answers is compared with words, which a locale or colours would change.
        command.env("XDG_RUNTIME_DIR", &self.runtime_dir).env("SYSTEMD_COLORS", "0").env("LC_ALL", "C.UTF-8");
        ask(command, within).map_err(|why| format!("{}: {why}", self.systemctl.display()))
    }

    /// Returns where agents' programs are found: the login shell's `PATH`, and what this one has besides
    /// (version managers of languages often set theirs up in interactive shells only).
    pub(crate) fn login_path(&self) -> String {
        const MARK: &str = "oodatcaa-path:";
        let login = self.shell.as_ref().and_then(|shell| {
            let mut command = Command::new(shell);
            // A login shell may greet on standard output.
            command.args(["-l", "-c", &format!("printf '\\n{MARK}%s\\n' \"$PATH\"")]);
            let answer = ask(command, Duration::from_secs(5)).ok()?;
            answer.out.lines().rev().find_map(|line| line.strip_prefix(MARK)).map(str::to_owned)
        });
        joined_path(login.as_deref().unwrap_or_default(), &self.path)
    }

    /// Returns the program of this name beside our own one, else on the `PATH`.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let ours = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(name)));
        let dirs = self.path.split(':').map(Path::new).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
        ours.into_iter().chain(dirs).find(|path| is_program(path))
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a program for its answer; it is ended when it takes longer.
pub(super) fn ask(mut command: Command, within: Duration) -> Result<Answer, String> {
    let answer = oodatcaa_sys::command::ask(&mut command, within).map_err(|error| error.to_string())?;
    let answer = answer.ok_or_else(|| format!("no answer within {within:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let status = answer.status;
    Ok(Answer { ok: status.success(), code: status.code(), out: text(&answer.out), err: text(&answer.err) })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn nowhere(dir: &Path) -> Host {
        Host {
            booted: dir.join("booted"),
            runtime_dir: dir.join("run"),
            config_home: dir.join("config"),
            systemctl: dir.join("systemctl"),
            linger: None,
            path: "/usr/bin:/bin".into(),
            shell: None,
        }
    }

    #[test]
    fn a_machine_without_systemd_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut host = nowhere(dir.path());
        assert!(host.manager().unwrap_err().contains("not booted with systemd"));
        fs::create_dir(&host.booted).unwrap();
        assert!(host.manager().unwrap_err().contains("no systemd user manager"));
        fs::create_dir_all(host.runtime_dir.join("systemd")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(host.runtime_dir.join("systemd/private")).unwrap();
        host.systemctl = "/nonexistent/systemctl".into();
        assert!(host.manager().unwrap_err().contains("/nonexistent/systemctl"));
        host.systemctl = "/bin/echo".into();
        assert!(host.manager().unwrap_err().contains("user manager is"), "an answer that is no state");
    }

    #[test]
    fn the_login_shells_path_survives_its_greetings() {
        let dir = tempfile::tempdir().unwrap();
        let shell = dir.path().join("shell");
        // Written by a child: were it open for writing here, another test's fork could keep it from being executed.
        let script = "#!/bin/sh\necho Welcome; PATH=/login/bin:/bin; eval \"$3\"; echo Bye\n";
        let mut write = Command::new("sh");
        write.args(["-c", "printf %s \"$2\" >\"$1\"; chmod +x \"$1\"", "sh"]).arg(&shell).arg(script);
        assert!(write.status().unwrap().success());
        let host = Host { shell: Some(shell), ..nowhere(dir.path()) };
        assert_eq!(host.login_path(), "/login/bin:/bin:/usr/bin");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("600");
        assert!(ask(command, Duration::from_millis(50)).unwrap_err().contains("no answer"));
    }
}
