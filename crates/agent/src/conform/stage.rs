//! An attempt that never was, confined as attempts are, with things beside it that must not be reached.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Case, Verdict, case};
use crate::{
    Agent, Assignment,
    descriptor::Descriptor,
    environment, example,
    sandbox::{self, Confinement, Place, Private, Program, ThisMachine},
};
use oodatcaa_config::{AgentConfig, Sandbox};
use oodatcaa_core::{Guarantee, Role, Workflow, layout::Layout, text};
use oodatcaa_process::{Invocation, confine::Report};

/// The places of one made-up attempt, and how its program is confined.
pub(super) struct Stage {
    room: PathBuf,
    pub(super) assignment: Assignment,
    confinement: Confinement,
    private: Private,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.private.remove();
    }
}

impl Stage {
    /// Makes the places of attempt `n` in a room. Fails, in words, where it cannot be confined as it has to be.
    pub(super) fn new(room: &Path, n: u32, agent: &Agent, sandbox: &Sandbox) -> Result<Self, String> {
        let (project, home) = (room.join("project"), room.join("home"));
        let layout = Layout::new(&project);
        let run_dir = layout.runs().join("EXAMPLE").join(n.to_string());
        let rule = Workflow::shipped().rule(&Role::BUILDER).expect("ships").clone();
        let assignment = Assignment {
            workspace: room.join("worktree"),
            home: Some(room.join("slot")),
            ..example::assignment(&rule, &project, &run_dir)
        };
        let private = Private::of(&run_dir);
        let planted = [
            (home.join(".ssh/id_test"), "a secret\n"),
            (layout.queue(), "{\"tasks\": []}\n"),
            (layout.locks().join("queue.lock"), ""),
            (layout.foreign_homes().join("other/state"), "of another slot\n"),
        ];
        let made = || -> io::Result<()> {
            for dir in [&assignment.workspace, &assignment.out_dir(), &room.join("slot")] {
                fs::create_dir_all(dir)?;
            }
            for (file, text) in &planted {
                fs::create_dir_all(file.parent().unwrap_or(file))?;
                fs::write(file, text)?;
            }
            private.prepare()
        };
        made().map_err(|error| format!("make a place to try it in: {error}"))?;
        let own_home = BTreeMap::from([("HOME".to_owned(), home.to_string_lossy().into_owned())]);
        let place = Place {
            program: Program::Agent,
            home: Some(home),
            config: None,
            top: assignment.workspace.clone(),
            git: None,
            own_git: None,
            run_dir: Some(run_dir),
            slot: assignment.home.clone(),
            own: agent.own_places(assignment.home.as_deref()),
            sign_ins: sandbox::sign_ins(&agent.config.adapters, &own_home),
            private: private.clone(),
            programs: environment::path(&agent.config.set).split(':').map(PathBuf::from).collect(),
            sockets: Vec::new(),
            layout,
        };
        let mut confinement = sandbox::confine(sandbox, &place, &ThisMachine)?;
        confinement.env.retain(|name, _| !agent.config.set.contains_key(name));
        let confined = confinement.profile.is_some();
        let assignment = Assignment { confined, sandboxed: confined && !sandbox.nested, ..assignment };
        Ok(Self { room: room.to_owned(), assignment, confinement, private })
    }

    /// Tells whether anything confines it.
    pub(super) fn is_confined(&self) -> bool {
        self.confinement.profile.is_some()
    }

    /// Has a program run confined.
    pub(super) fn confine(&self, mut invocation: Invocation) -> io::Result<Invocation> {
        invocation.env.extend(self.confinement.env.clone());
        if let Some(profile) = &self.confinement.profile {
            invocation.confine = Some(profile.clone().write(&self.assignment.run_dir)?);
        }
        Ok(invocation)
    }

    /// Returns what became of the confinement of the program that has run.
    pub(super) fn report(&self) -> Result<Report, String> {
        let report =
            Report::read(&self.assignment.run_dir).map_err(|error| format!("its report is unreadable: {error}"))?;
        let report = report.ok_or("it was ended before it could be confined")?;
        match report.failure() {
            Some(why) => Err(why.to_owned()),
            None => Ok(report),
        }
    }

    /// Says how the program that has run was confined.
    pub(super) fn confined(&self) -> Case {
        const NAME: &str = "confined";
        if !self.is_confined() {
            return case(NAME, Verdict::Note, "not at all (mode = \"off\"): it has every right of yours");
        }
        match self.report() {
            Err(why) => case(NAME, Verdict::Broken, why),
            Ok(report) => {
                let given: Vec<&str> = report.guarantees.iter().map(|one| one.as_str()).collect();
                let refused = report.refused.map(|why| format!("; no namespace: {why}")).unwrap_or_default();
                case(NAME, Verdict::Kept, format!("{}, by {}{refused}", given.join(", "), report.means.words()))
            }
        }
    }
}

/// Something that is tried inside: its name, what a shell does, and what keeps it from that; nothing where it must work.
type Try = (&'static str, &'static str, Option<Guarantee>);

/// The needs of an attempt, and what it must not reach. A try is a line of a shell, which has the rights of the agent.
const TRIES: [Try; 9] = [
    ("writes its slot", ": > \"$SLOT/probe\"", None),
    ("writes its worktree", ": > probe", None),
    ("writes its result by renaming", ": > \"$OUT/r.new\" && mv \"$OUT/r.new\" \"$OUT/r\"", None),
    (
        "reads and renews its sign-in",
        "for file in $LINKS; do cat \"$file\" || exit 1; done; for file in $RENEWED; do : >> \"$file\" || exit 1; done",
        None,
    ),
    ("read a secret of your home", "cat \"$HOME/.ssh/id_test\"", Some(Guarantee::Secrets)),
    ("write the queue", ": >> \"$QUEUE\"", Some(Guarantee::Files)),
    ("hold the lock of the queue", ": < \"$LOCK\"", Some(Guarantee::Secrets)),
    ("read the slot of another", "cat \"$OTHER\"", Some(Guarantee::Secrets)),
    ("signal its worker", "kill -0 $WORKER", Some(Guarantee::Processes)),
];

/// Returns the script that tries all of it, a line of output for each.
pub(super) fn script() -> String {
    TRIES
        .iter()
        .enumerate()
        .map(|(n, (_, line, _))| format!("( {line} ) > /dev/null 2>&1; echo \"try {n} $?\"\n"))
        .collect()
}

/// Says what became of the tries: what it needs, and what it was kept from.
pub(super) fn tried(output: &str, report: &Report, links: bool) -> Vec<Case> {
    let ended = |n: usize| {
        let line = format!("try {n} ");
        output.lines().find_map(|said| said.strip_prefix(&line)).map(|code| code.trim() == "0")
    };
    let (mut lacks, mut has, mut reached, mut open, mut kept) = (vec![], vec![], vec![], vec![], vec![]);
    for (n, (what, _, keeps)) in TRIES.iter().enumerate() {
        match (ended(n), keeps) {
            (Some(true), None) if *what == TRIES[3].0 && !links => {}
            (Some(true), None) => has.push(*what),
            (_, None) => lacks.push(*what),
            (Some(false), Some(_)) => kept.push(*what),
            (_, Some(keeps)) if report.guarantees.contains(keeps) => reached.push(*what),
            (_, Some(_)) => open.push(*what),
        }
    }
    let needs = match lacks.as_slice() {
        [] => case("inside", Verdict::Kept, format!("it {}", has.join(", "))),
        lacks => case("inside", Verdict::Broken, format!("it cannot do what it needs: {}", lacks.join(", "))),
    };
    let mut cases = vec![needs];
    if !reached.is_empty() {
        cases.push(case("kept-from", Verdict::Broken, format!("it could {}", reached.join(", "))));
    } else if !kept.is_empty() {
        cases.push(case("kept-from", Verdict::Kept, format!("it cannot {}", kept.join(", "))));
    }
    if !open.is_empty() {
        cases.push(case(
            "open",
            Verdict::Note,
            format!("this machine does not keep it from this: {}", open.join(", ")),
        ));
    }
    cases
}

/// Plants a sign-in by files in the home of the room. Returns the agent's configuration that uses it, where its slot has
/// each file, and whether that is one which the program renews.
pub(super) fn signed_in(
    descriptor: &Descriptor,
    config: &AgentConfig,
    room: &Path,
) -> io::Result<(AgentConfig, Vec<(PathBuf, bool)>)> {
    let mut config = config.clone();
    let home = room.join("home");
    let patterns = descriptor.env.login_files.iter().chain(descriptor.home.links.values().flatten());
    for pattern in patterns {
        match pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            // Whatever the user has set, the sign-in is the one that is planted.
            Some((name, _)) => drop(config.set.insert(name.into(), String::new())),
            None => {
                let file = home.join(pattern);
                fs::create_dir_all(file.parent().unwrap_or(&file))?;
                fs::write(file, "{}\n")?;
            }
        }
    }
    config.set.extend(descriptor.env.requires_any.iter().flatten().map(|name| (name.clone(), String::new())));
    config.set.insert("HOME".into(), home.to_string_lossy().into_owned());
    let links = descriptor.home.links.iter().map(|(name, places)| {
        let renewed = places.iter().any(|place| descriptor.env.login_files.contains(place));
        (room.join("slot").join(name), renewed)
    });
    Ok((config, links.collect()))
}

/// Returns the variables by which the script knows its places.
pub(super) fn places(stage: &Stage, links: &[(PathBuf, bool)]) -> BTreeMap<String, String> {
    let layout = Layout::new(&stage.assignment.project);
    let one = |path: &Path| path.to_string_lossy().into_owned();
    let linked = |renewed: bool| {
        let all = links.iter().filter(|(link, renews)| link.exists() && (*renews || !renewed));
        all.map(|(link, _)| one(link)).collect::<Vec<_>>().join(" ")
    };
    [
        ("SLOT", one(&stage.room.join("slot"))),
        ("OUT", one(&stage.assignment.out_dir())),
        ("QUEUE", one(&layout.queue())),
        ("LOCK", one(&layout.locks().join("queue.lock"))),
        ("OTHER", one(&layout.foreign_homes().join("other/state"))),
        ("LINKS", linked(false)),
        ("RENEWED", linked(true)),
        ("WORKER", std::process::id().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The words of a refusal by the system.
const REFUSALS: [&str; 6] =
    ["Permission denied", "permission denied", "Read-only file system", "Operation not permitted", "EACCES", "EROFS"];

/// Says what the program wrote about being refused something.
pub(super) fn refused(stage: &Stage) -> Option<Case> {
    let read = |name: &str| fs::read_to_string(stage.assignment.run_dir.join(name)).unwrap_or_default();
    let all = read("stdout.log") + &read("stderr.log");
    let mut lines: Vec<String> = all
        .lines()
        .filter(|line| REFUSALS.iter().any(|words| line.contains(words)))
        .map(|line| text::cut(&text::one_line(line), 200))
        .collect();
    lines.dedup();
    let more = lines.len().saturating_sub(3);
    lines.truncate(3);
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    (!lines.is_empty()).then(|| case("refused", Verdict::Note, lines.join("; ") + &more))
}
