//! What an error of the fleet means to people: starting, stopping and finding workers.

use super::{ErrorKind, Failure, from::io_failure, quoted};
use oodatcaa_fleet::FleetError;

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Running { ref name, .. } => {
                let role = oodatcaa_fleet::pidfile::role_of(name);
                Self::of(ErrorKind::AlreadyRunning, &error)
                    .hint("see which run: agentctl fleet status")
                    .hint(format!("to have a further one: agent-daemon --role {role} --owner TAG --detach"))
            }
            FleetError::Unsafe { ref path, .. } => Self::of(ErrorKind::UnsafePath, &error)
                .hint(format!("look at it, then move it away: ls -ld {}", quoted(path)))
                .see("security"),
            FleetError::File(error) => error.into(),
            FleetError::Io { ref path, ref source, .. } => io_failure(&error, path, source),
            FleetError::NoDaemon => {
                Self::of(ErrorKind::NotFound, &error).hint("install all of it: cargo install --locked --path .")
            }
            FleetError::NoRole { .. } => Self::of(ErrorKind::NoRole, &error).see("roles"),
            FleetError::NoSystemd(_) => {
                Self::of(ErrorKind::Unreachable, &error).hint("without systemd: agentctl fleet start --backend process")
            }
            FleetError::Foreign { ref project, .. } => {
                let failure = Self::of(ErrorKind::Refused, &error);
                match project {
                    Some(project) => failure
                        .hint(format!("let that project go first: agentctl -C {} fleet uninstall", quoted(project))),
                    None => failure.hint("move that unit away if nobody needs it"),
                }
                .hint("or run this project without systemd: agentctl fleet start --backend process")
            }
            FleetError::Manager { .. } => Self::of(ErrorKind::Failed, &error)
                .hint("see how the user manager is: systemctl --user status")
                .hint("or run without it: agentctl fleet start --backend process"),
            FleetError::Detach(_) => {
                Self::of(ErrorKind::Failed, &error).hint("run it in the foreground, without --detach")
            }
            FleetError::Store(store) => store.into(),
        }
    }
}
