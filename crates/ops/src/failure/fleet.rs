//! What an error of the fleet means to people: starting, stopping and finding workers.

use super::{ErrorKind, Failure, from::io_failure, quoted};
use oodatcaa_fleet::{FleetError, pidfile};

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        let told = |kind, hints: &[&str]| Self::of(kind, &error).hints(hints);
        let without_systemd = "or run it without systemd: agentctl fleet start --backend process";
        match error {
            FleetError::File(error) => error.into(),
            FleetError::Store(error) => error.into(),
            FleetError::Io { ref path, ref source, .. } => io_failure(&error, path, source),
            FleetError::Running { ref name, .. } => {
                let role = pidfile::role_of(name);
                let further = format!("to start another one: agent-daemon --role {role} --owner TAG --detach");
                told(ErrorKind::AlreadyRunning, &["see which run: agentctl fleet status", &further])
            }
            FleetError::Unsafe { ref path, .. } => {
                told(ErrorKind::UnsafePath, &[&format!("look at it, then move it away: ls -ld {}", quoted(path))])
            }
            FleetError::NoDaemon => told(ErrorKind::NotFound, &["install all of it: cargo install --locked --path ."]),
            FleetError::NoRole { .. } => told(ErrorKind::NoRole, &[]),
            FleetError::NoSystemd(_) => {
                told(ErrorKind::Unreachable, &["without systemd: agentctl fleet start --backend process"])
            }
            FleetError::Foreign { ref project, .. } => {
                let first = match project {
                    Some(at) => {
                        format!("uninstall that project's units first: agentctl -C {} fleet uninstall", quoted(at))
                    }
                    None => "move that unit away if nobody needs it".into(),
                };
                told(ErrorKind::Refused, &[&first, without_systemd])
            }
            FleetError::Manager { .. } => told(
                ErrorKind::Failed,
                &["see the state of the user manager: systemctl --user status", without_systemd],
            ),
            FleetError::Refused(_) => told(ErrorKind::Refused, &["see which run: agentctl fleet status"]),
            FleetError::Detach(_) => told(ErrorKind::Failed, &["run it in the foreground, without --detach"]),
        }
    }
}
