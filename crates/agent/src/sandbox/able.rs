//! Finds whether this machine can keep a sandbox at all, before anything is claimed.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use oodatcaa_config::{Sandbox, SandboxMode};
use oodatcaa_process::confine::{self, Means, Network, Profile, Report};

use super::{Private, Program, network};

/// Says why this machine cannot keep a sandbox; `None` where it can, or where a person has put it off. `exe` is a program
/// of ours, which confines itself for it where that is the only way to know.
pub fn unable(sandbox: &Sandbox, exe: &Path) -> Option<String> {
    if sandbox.mode == SandboxMode::Off {
        return None;
    }
    let network = match network(sandbox, Program::Agent) {
        // The way to a proxy is a shim's.
        Ok(Network::Proxy(_)) => Network::None,
        Ok(network) => network,
        Err(why) => return Some(format!("it cannot {why}")),
    };
    let mut profile = Profile {
        require: sandbox.require.clone(),
        network,
        namespace: sandbox.mode == SandboxMode::Auto,
        nested: sandbox.nested,
        ..Profile::default()
    };
    // Mostly there is nothing to try, so that a worker starts as quickly as ever.
    let alone = Means { landlock: confine::landlock(), namespace: false };
    if profile.require.is_subset(&confine::given(alone, &profile)) {
        return None;
    }
    let private = Private::of(&PathBuf::from(format!("able-{}", std::process::id())));
    let tried = private.prepare().and_then(|()| {
        let file = profile.write(private.tmp())?;
        let mut command = Command::new(exe);
        command.arg(confine::MODE).arg(file).args(["--", "true"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    });
    let why = match tried {
        Ok(_) => Report::ran(private.tmp()).err(),
        Err(error) => Some(format!("it cannot be tried: {error}")),
    };
    let _ = private.remove();
    why
}
