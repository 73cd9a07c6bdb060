//! From checked values to the configuration's types, and what only shows when they are seen together.

use std::collections::BTreeMap;

use toml::Value;

use super::{
    AgentConfig, AgentKind, Commits, Config, Fault, Fetch, Fleet, GateConfig, MergeConfig, MergePolicy, NamedCommand,
    Origin, Preset, PromptVia, RoleConfig, Setting, Trust, WorkspaceConfig, WorkspaceMode, World,
    fault::Findings,
    flat::{Flat, Values},
    form::Form,
    keys::{self, NO_AGENT},
    kind::Kind,
    lookup, rules,
    sandbox::Sandboxes,
    secrets,
};
use oodatcaa_core::{
    Duty, Role, RoleRule, Status, Workflow,
    hours::Hours,
    layout::Layout,
    policy::{Bounds, Budgets, Limits, Makes, OnRetry, Policy},
};

/// Returns a value as it may be shown.
pub(super) fn masked(path: &[String], value: &Value) -> Value {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match (parts.as_slice(), value.as_str()) {
        (
            ["agents", _, "set", _] | ["agents", _, "accounts", _, "set", _] | ["adapters", _, "env", "set", _],
            Some(text),
        ) => Value::String(secrets::shown(text).into()),
        _ => value.clone(),
    }
}

/// Returns a value with its origin, as it may be shown.
pub(super) fn setting((path, (value, origin)): (&Vec<String>, &(Value, Origin))) -> Setting {
    Setting { key: path.join("."), value: masked(path, value), origin: origin.clone() }
}

/// Returns every value in force, secrets masked.
pub(super) fn settings(all: &Flat) -> Vec<Setting> {
    // An empty table says that there is such a name, and nothing of a value.
    all.iter().filter(|(_, (value, _))| value.as_table().is_none_or(|table| !table.is_empty())).map(setting).collect()
}

/// Puts the configuration together; `dropped` are the commands that do not count for want of trust.
pub(super) fn build(
    all: &Flat,
    dropped: &[NamedCommand],
    trust: Trust,
    (world, layout): (&World, &Layout),
    found: &mut Findings,
) -> Config {
    let values = Values::of(all);
    let fleet = Fleet::read(&values, &["fleet"]);
    let retry = keys::retry::read(&values, &["retry"]);
    let adapters: BTreeMap<String, toml::Table> = values
        .table(&["adapters"])
        .filter_map(|(name, described)| Some((name.clone(), described.as_table()?.clone())))
        .collect();
    let mut agents = BTreeMap::new();
    let mut accounts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, _) in values.table(&["agents"]) {
        let agent = agent(&values, name, &adapters, found);
        for (account, _) in values.table(&["agents", name, "accounts"]) {
            let mut of_account = AgentConfig { account: Some(account.clone()), ..agent.clone() };
            of_account.set.extend(values.texts(&["agents", name, "accounts", account, "set"]));
            let full = format!("{name}@{account}");
            accounts.entry(name).or_default().push(full.clone());
            agents.insert(full, of_account);
        }
        agents.insert(name.clone(), agent);
    }
    let mut gates = BTreeMap::new();
    for (name, _) in values.table(&["gates"]) {
        if values.get(&["gates", name, "argv"]).is_none() {
            found.faults.push(values.missing("gates", name, "argv", "a program and its arguments"));
        }
        gates.insert(name.clone(), GateConfig::read(&values, &["gates", name]));
    }
    if retry.backoff > retry.backoff_max {
        found.faults.push(values.fault(&["retry", "backoff"], "is longer than `retry.backoff_max`".into()));
    }
    let merge = MergeConfig::read(&values, &["merge"]);

    let mut refer = |path: &[&str], what: &str, names: &[String]| {
        let is_known = |name: &str| if what == "agent" { agents.contains_key(name) } else { gates.contains_key(name) };
        // What was dropped for want of trust is told where it is needed, with the command that allows it.
        let is_dropped = |name: &str| dropped.iter().any(|command| command.what == what && command.name == name);
        for name in names.iter().filter(|name| !is_known(name) && !is_dropped(name)) {
            let known: Vec<&str> = match what {
                "agent" => agents.keys().map(String::as_str).collect(),
                _ => gates.keys().map(String::as_str).collect(),
            };
            let more = lookup::meant(name, &known)
                .unwrap_or_else(|| format!("there are none; write a table [{what}s.{name}]"));
            found.faults.push(values.fault(path, format!("names the {what} `{name}`, which is not defined; {more}")));
        }
    };
    let of_fleet = fleet.agent.as_ref().filter(|name| *name != NO_AGENT);
    refer(&["fleet", "agent"], "agent", of_fleet.map_or(&[], std::slice::from_ref));
    refer(&["merge", "after"], "gate", &merge.after);
    for of in ["schedules", "handoffs"] {
        for (name, _) in values.table(&[of]) {
            let wanted: Vec<String> = values.take(&[of, name], "then.task.gates", Kind::List(Form::Name), None);
            refer(&[of, name, "then", "task", "gates"], "gate", &wanted);
        }
    }
    let (mut roles, mut on_retry) = (BTreeMap::new(), BTreeMap::new());
    for (name, _) in values.table(&["roles"]) {
        let mut config = RoleConfig::read(&values, &["roles", name]);
        refer(&["roles", name, "agents"], "agent", &config.agents);
        refer(&["roles", name, "on_retry", "agent"], "agent", &config.on_retry);
        refer(&["roles", name, "gates"], "gate", &config.gates);
        if is_agentless(&values, name) {
            config.agent = None;
        } else if config.agents.is_empty() {
            refer(&["roles", name, "agent"], "agent", config.agent.as_slice());
            config.agents.extend(config.agent.take().or_else(|| fleet.agent.clone()));
        }
        for chain in [&mut config.agents, &mut config.on_retry] {
            let each = |name: &String| accounts.get(name.as_str()).cloned().unwrap_or_else(|| vec![name.clone()]);
            *chain = chain.iter().flat_map(each).collect();
        }
        config.agent = config.agents.first().cloned();
        if !config.on_retry.is_empty() {
            let only = config.on_retry.iter().all(|name| !config.agents.contains(name));
            on_retry.insert(Role::new(name.as_str()), OnRetry { only, agents: config.on_retry.clone() });
        }
        roles.insert(Role::new(name.as_str()), config);
    }
    for (role, config) in roles.iter().filter(|(role, _)| is_agentless(&values, role.as_str())) {
        check_agentless(&values, role.as_str(), config, found);
    }
    if fleet.agent.as_deref() == Some(NO_AGENT) {
        let message = "is `none`, which is for single roles: agent = \"none\" in [roles.NAME]".into();
        found.faults.push(values.fault(&["fleet", "agent"], message));
    }
    if agents.contains_key(NO_AGENT) {
        found.faults.push(values.fault(&["agents", NO_AGENT], "is the name that stands for no agent".into()));
    }

    let mut workspace = WorkspaceConfig::read(&values, &["workspace"]);
    // From where the result goes, as long as nobody has said where that is: from where clones come.
    workspace.fetch_from =
        (workspace.fetch == Fetch::On).then(|| merge.push.clone().unwrap_or_else(|| "origin".into()));
    workspace.untrusted = dropped.iter().any(|command| command.what == "hook");
    let budget = |scope| Limits {
        starts: values.take(&["budget", scope], "starts", Kind::Count(0), None),
        ..keys::budget::read(&values, &["budget", scope])
    };
    let policy = Policy {
        merge_approval: merge.approval,
        deadline: values.take(&["decisions"], "deadline", Kind::Duration(0), None),
        budgets: Budgets { attempt: budget("attempt"), task: budget("task"), role: budget("role"), day: budget("day") },
        // The queue lies in the project as well.
        most_at_once: if trust == Trust::Trusted { u32::MAX } else { 1 },
        bounds: Bounds {
            backoff: retry.backoff,
            backoff_max: retry.backoff_max,
            ..keys::limits::read(&values, &["limits"])
        },
        merges: workspace.mode == WorkspaceMode::Worktree,
        makes: match merge.policy {
            MergePolicy::MergeCommit => Makes::MergeCommit,
            MergePolicy::Squash => Makes::Squash,
            MergePolicy::Rebase => Makes::Commits,
        },
        on_retry,
        schedules: Vec::new(),
        handoffs: Vec::new(),
        // What is wrong with a span or a zone has been noted with it.
        hours: Hours::new(&fleet.hours, &fleet.tz).unwrap_or_default(),
        resume: Hours::new(&fleet.resume_window, &fleet.tz).unwrap_or_default(),
        read_at: Policy::default().read_at,
        broken: None,
    };
    let faults = found.faults.len();
    let table = workflow(&values, fleet.preset, found);
    // With roles that only stand in for those of a broken table every name in a rule would be wrong.
    let (schedules, handoffs) = match found.faults.len() == faults {
        true => (rules::schedules(&values, &table, found), rules::handoffs(&values, &table, found)),
        false => (Vec::new(), Vec::new()),
    };
    let workflow = table.under(Policy { schedules, handoffs, ..policy });
    let sandboxes = Sandboxes::of(all, world, layout, found);
    let config = Config { fleet, workflow, roles, agents, adapters, gates, retry, workspace, merge, trust, sandboxes };
    config.check_sandboxes(found);
    config
}

fn agent(
    values: &Values<'_>,
    name: &str,
    adapters: &BTreeMap<String, toml::Table>,
    found: &mut Findings,
) -> AgentConfig {
    let at = |member| ["agents", name, member];
    let mut agent = AgentConfig::read(values, &["agents", name]);
    (agent.kind, agent.adapter) = match (values.text(&at("kind")).as_deref(), agent.adapter) {
        (Some("sim"), _) => (AgentKind::Sim, None),
        (Some("command"), _) | (None, None) => (AgentKind::Command, None),
        (Some(adapter), None) => (AgentKind::Adapter, Some(adapter.to_owned())),
        (_, Some(adapter)) => (AgentKind::Adapter, Some(adapter)),
    };
    match agent.kind {
        AgentKind::Command if values.get(&at("argv")).is_none() => {
            found.faults.push(values.missing("agents", name, "argv", "a program and its arguments"));
        }
        AgentKind::Command
            if agent.prompt == PromptVia::File && !agent.argv.iter().any(|arg| arg.contains("{prompt_file}")) =>
        {
            let message = "has no {prompt_file}, and `prompt` is \"file\": it would never see its prompt".into();
            found.faults.push(values.fault(&at("argv"), message));
        }
        AgentKind::Adapter => agent.adapters.clone_from(adapters),
        AgentKind::Command | AgentKind::Sim => {}
    }
    agent.set = values.texts(&at("set"));
    let exits = values.texts(&at("exits"));
    agent.exits = exits.iter().filter_map(|(code, class)| Some((code.parse().ok()?, class.parse().ok()?))).collect();
    agent
}

/// Tells whether a role works without an agent.
fn is_agentless(values: &Values<'_>, role: &str) -> bool {
    values.text(&["roles", role, "agent"]).as_deref() == Some(NO_AGENT)
}

/// Notes what a role without an agent cannot keep.
fn check_agentless(values: &Values<'_>, role: &str, config: &RoleConfig, found: &mut Findings) {
    let merges: bool = values.take(&["roles", role], "merges", Kind::Flag, None);
    let at = |key: &'static str| ["roles", role, key];
    let mut fault = |key, message: String| found.faults.push(values.fault(&at(key), message));
    if config.gates.is_empty() && !merges {
        fault("agent", "is `none`, and the role has no `gates`: an attempt would prove nothing".into());
    }
    let asked = [("require_result", config.require_result), ("criteria", config.criteria), ("change", config.change)];
    for (key, _) in asked.into_iter().filter(|(_, asked)| *asked) {
        fault(key, "is true, which only an agent can keep, and `agent` is `none`; set it to false".into());
    }
    if config.commits == Commits::Always {
        fault("commits", "is `always`, and without an agent nothing is changed that could be kept".into());
    }
    for (key, names) in [("agents", &config.agents), ("on_retry", &config.on_retry)] {
        if !names.is_empty() {
            fault(key, format!("names {}, and `agent` is `none`", names.join(", ")));
        }
    }
}

/// Returns the workflow: the preset's roles in their order, then the project's own by name.
fn workflow(values: &Values<'_>, preset: Preset, found: &mut Findings) -> Workflow {
    let shipped = Workflow::shipped();
    let place = |name: &&String| preset.place(name);
    let mut names: Vec<&String> = values.table(&["roles"]).map(|(name, _)| name).collect();
    names.sort_by_key(|name| (place(name).unwrap_or(usize::MAX), *name));
    let mut rules = Vec::new();
    for &name in &names {
        let text = |member| values.text(&["roles", name, member]).map(Status::new);
        let mut needed = |member| {
            // A value that is there and is wrong has been noted already.
            if values.get(&["roles", name, member]).is_none() {
                let stranger = preset.stranger(name).map(|other| {
                    let (ours, other) = (preset.as_str(), other.as_str());
                    format!("a status word; `{name}` is of the preset `{other}`, and `fleet.preset` is `{ours}`")
                });
                let expected = stranger.as_deref().unwrap_or("a status word");
                found.faults.push(values.missing("roles", name, member, expected));
            }
            text(member).unwrap_or_else(|| Status::new(""))
        };
        rules.push(RoleRule {
            role: Role::new(name.as_str()),
            takes: needed("takes"),
            works: needed("works"),
            done: needed("done"),
            failed: needed("failed"),
            done_with_children: text("done_with_children"),
            replan: text("replan"),
            ttl: values.take(&["roles", name], "ttl", Kind::Duration(1_000), None),
            duty: Duty {
                merges: values.take(&["roles", name], "merges", Kind::Flag, None),
                builds: values.take(&["roles", name], "builds", Kind::Flag, None),
                begins: values.take(&["roles", name], "begins", Kind::List(Form::Any), None),
                kind: values.text(&["roles", name, "type"]),
                agentless: is_agentless(values, name),
            },
        });
    }
    if !found.faults.is_empty() {
        return shipped;
    }
    Workflow::new(rules).unwrap_or_else(|bad| {
        let origin = names.iter().map(|name| values.origin("roles", name)).find(|origin| !origin.ships());
        found.faults.push(Fault {
            origin: origin.unwrap_or(Origin::Default),
            key: "roles".into(),
            message: format!("cannot work: {bad}"),
        });
        shipped
    })
}
