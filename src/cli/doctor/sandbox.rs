//! Tries whether this machine keeps agents, gates and hooks to their sandboxes; nothing is concluded.

use std::path::Path;

use super::report::Report;
use crate::cli::sandbox::summary;
use oodatcaa_config::SandboxMode;
use oodatcaa_core::{Guarantee, text::one_line};
use oodatcaa_ops::{Project, sandbox::words, view::ProbeView};
use oodatcaa_sys::files::named;

/// More sockets are not named.
const MOST: usize = 5;

pub(super) fn check(report: &mut Report<'_>) {
    let Ok(loaded) = &report.context.loaded else { return };
    let project = Project::at(report.context.layout.clone(), loaded.clone());
    let Ok(everybody) = project.everybody() else { return };
    let sandboxes: Vec<_> = everybody.iter().filter_map(|who| Some((who, project.sandbox_of(who).ok()?))).collect();
    let off = sandboxes.iter().filter(|(_, sandbox)| sandbox.mode == SandboxMode::Off);
    let off: Vec<String> = off.map(|(who, _)| who.words()).collect();
    if off.len() == sandboxes.len() {
        let what = "nothing is confined: agents, gates and hooks can do all that you can";
        return report.found("sandbox.off", what, "agentctl config show sandbox");
    }
    if !off.is_empty() {
        let what = format!("not confined: {}", off.join(", "));
        report.found("sandbox.off", what, "agentctl config show sandbox");
    }
    let probes = match project.probe() {
        Ok(probes) => probes,
        Err(failure) => {
            let run = failure.hints.first().cloned().unwrap_or_default();
            return report.found("sandbox.untried", failure.sentence(), run);
        }
    };
    probes.iter().for_each(|probe| tell(report, probe));
    let all_open = probes.iter().any(|probe| !probe.given.contains(&Guarantee::Network) && probe.error.is_none());
    if all_open {
        let what = "the network is open to agents (network = \"all\")";
        report.found("sandbox.network", what, "[sandbox] network = \"none\", or in [gates.NAME.sandbox]");
    }
    let mut reachable: Vec<&String> = probes.iter().flat_map(|probe| &probe.reachable).collect();
    reachable.sort();
    reachable.dedup();
    if !reachable.is_empty() {
        let named: Vec<String> = reachable.iter().take(MOST).map(|path| one_line(path)).collect();
        let more = reachable.len().saturating_sub(MOST);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let what = format!("agents can connect to {}{more}", named.join(", "));
        report.found("sandbox.sockets", what, format!("[sandbox] deny_read = [{:?}]", named[0]));
    }
}

fn tell(report: &mut Report<'_>, probe: &ProbeView) {
    let who = probe.programs.join(", ");
    if let Some(error) = probe.error.as_ref().filter(|_| probe.missing.is_empty()) {
        return report.found("sandbox.untried", format!("{who}: {error}"), "agentctl sandbox probe");
    }
    if !probe.missing.is_empty() {
        let refused = probe.refused.as_ref().map(|why| format!(", no namespace: {why}")).unwrap_or_default();
        let lacks: Vec<String> =
            probe.missing.iter().map(|one| format!("{}: {}", one.as_str(), one.cannot())).collect();
        let what = format!("{who}: not to be had here: {} ({}{refused})", lacks.join("; "), probe.means);
        return report.found("sandbox.missing", what, remedy(probe));
    }
    let wrong = |forbidden: bool| probe.tries.iter().find(|tried| !tried.ok && tried.guarantee.is_some() == forbidden);
    if let Some(tried) = wrong(true) {
        return report.found(
            "sandbox.leak",
            format!("{who}: {}: it could be done", tried.what),
            "agentctl sandbox probe",
        );
    }
    if let Some(tried) = wrong(false) {
        let words = tried.words.as_deref().unwrap_or_default();
        let what = format!("{who}: {}: {words}", tried.what);
        return report.found("sandbox.hinders", what, "agentctl sandbox probe");
    }
    report.good("sandbox", format!("{who}: {}", summary(probe)));
    let less = [Guarantee::Files, Guarantee::Metadata, Guarantee::Secrets, Guarantee::Environ, Guarantee::Processes];
    let less: Vec<Guarantee> = less.into_iter().filter(|one| !probe.given.contains(one)).collect();
    if !less.is_empty() {
        let refused = probe.refused.as_ref().map(|why| format!(" (no namespace: {why})")).unwrap_or_default();
        report.found("sandbox.less", format!("{who}: not kept: {}{refused}", words(&less)), remedy(probe));
    }
}

/// Returns what makes more possible on this machine.
fn remedy(probe: &ProbeView) -> String {
    let says =
        |path: &str, value: &str| named::text(Path::new("/proc/sys").join(path)).is_ok_and(|text| text.trim() == value);
    match &probe.refused {
        Some(_) if says("kernel/apparmor_restrict_unprivileged_userns", "1") => {
            "sudo agentctl sandbox apparmor --install".into()
        }
        Some(_) if says("kernel/unprivileged_userns_clone", "0") => {
            "sudo sysctl kernel.unprivileged_userns_clone=1".into()
        }
        Some(_) if says("user/max_user_namespaces", "0") => "sudo sysctl user.max_user_namespaces=10000".into(),
        _ => "agentctl help sandbox".into(),
    }
}
