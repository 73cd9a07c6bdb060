//! From checked values to the configuration's types, and what only shows when they are seen together.

use std::collections::BTreeMap;

use toml::Value;

use super::{
    AgentConfig, AgentKind, Config, Fault, Fetch, Fleet, GateConfig, MergeConfig, MergePolicy, Origin, PromptVia,
    RoleConfig, Setting, Trust, WorkspaceConfig, WorkspaceMode,
    fault::Findings,
    flat::{Flat, Values},
    keys::{self, keys},
    kind::Kind,
    secrets,
};
use oodatcaa_core::{
    Role, RoleRule, Status, Workflow,
    policy::{Bounds, Budgets, Makes, OnRetry, Policy},
    text::near,
};

/// Returns the names in a section that holds tables by name.
fn names(all: &Flat, section: &str) -> Vec<String> {
    let mut names: Vec<&String> =
        all.keys().filter(|path| path.len() > 1 && path[0] == section).map(|path| &path[1]).collect();
    names.dedup();
    names.into_iter().cloned().collect()
}

/// Sets what a role, agent or gate leaves to the table of keys.
pub(super) fn fill_in_defaults(all: &mut Flat) {
    let mut known: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for key in keys() {
        let (Some(default), Some((section, member))) = (key.default_value(), key.path.split_once(".*.")) else {
            continue;
        };
        for name in known.entry(section).or_insert_with(|| names(all, section)) {
            let path = vec![section.to_owned(), name.clone(), member.to_owned()];
            all.entry(path).or_insert_with(|| (default.clone(), Origin::Default));
        }
    }
}

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

/// Returns every value in force, secrets masked.
pub(super) fn settings(all: &Flat) -> Vec<Setting> {
    let setting = |(path, (value, origin)): (&Vec<String>, &(Value, Origin))| Setting {
        key: path.join("."),
        value: masked(path, value),
        origin: origin.clone(),
    };
    // An empty table says that there is such a name, and nothing of a value.
    all.iter().filter(|(_, (value, _))| !value.is_table()).map(setting).collect()
}

/// Puts the configuration together.
pub(super) fn build(
    all: &Flat,
    untrusted_agents: &[String],
    untrusted_gates: &[String],
    trust: Trust,
    found: &mut Findings,
) -> Result<Config, Fault> {
    let values = Values(all);
    let fleet = Fleet::read(&values, &["fleet"]);
    let retry = keys::retry::read(&values, &["retry"]);
    let adapters = adapters(all);
    let mut agents: BTreeMap<String, AgentConfig> =
        names(all, "agents").into_iter().map(|name| (name.clone(), agent(&values, &name, &adapters, found))).collect();
    let accounts: BTreeMap<String, Vec<String>> = agents
        .keys()
        .map(|name| (name.clone(), accounts(&values, name)))
        .filter(|(_, some)| !some.is_empty())
        .collect();
    for (name, account) in accounts.iter().flat_map(|(name, all)| all.iter().map(move |account| (name, account))) {
        agents.insert(format!("{name}@{account}"), of_account(&values, name, account, &agents[name]));
    }
    let gates: BTreeMap<String, GateConfig> =
        names(all, "gates").into_iter().map(|name| (name.clone(), gate(&values, &name, found))).collect();
    let mut roles: BTreeMap<Role, RoleConfig> = names(all, "roles")
        .into_iter()
        .map(|name| (Role::new(name.as_str()), RoleConfig::read(&values, &["roles", &name])))
        .collect();

    if retry.backoff > retry.backoff_max {
        let message = "is longer than `retry.backoff_max`".into();
        found.faults.push(values.fault(&["retry", "backoff"], message));
    }
    let merge = MergeConfig::read(&values, &["merge"]);

    let known = |what: &str| -> Vec<&str> {
        if what == "agent" {
            agents.keys().map(String::as_str).collect()
        } else {
            gates.keys().map(String::as_str).collect()
        }
    };
    let mut refer = |path: &[&str], what: &str, names: &[String]| {
        for name in names {
            let (defined, untrusted) = match what {
                "agent" => (agents.contains_key(name), untrusted_agents),
                _ => (gates.contains_key(name), untrusted_gates),
            };
            // What was dropped for want of trust is told where it is needed, with the command that allows it.
            if defined || untrusted.contains(name) {
                continue;
            }
            let known = known(what);
            let more = match (near(name, known.iter().copied()).first(), known.is_empty()) {
                (Some(word), _) => format!("did you mean `{word}`?"),
                (None, false) => format!("there are: {}", known.join(", ")),
                (None, true) => format!("there are none; write a table [{what}s.{name}]"),
            };
            found.faults.push(values.fault(path, format!("names the {what} `{name}`, which is not defined; {more}")));
        }
    };
    refer(&["fleet", "agent"], "agent", fleet.agent.as_slice());
    refer(&["merge", "after"], "gate", &merge.after);
    for (role, config) in &mut roles {
        let role = role.as_str();
        refer(&["roles", role, "agents"], "agent", &config.agents);
        refer(&["roles", role, "on_retry", "agent"], "agent", &config.on_retry);
        refer(&["roles", role, "gates"], "gate", &config.gates);
        if config.agents.is_empty() {
            refer(&["roles", role, "agent"], "agent", config.agent.as_slice());
            config.agents.extend(config.agent.take().or_else(|| fleet.agent.clone()));
        }
        for chain in [&mut config.agents, &mut config.on_retry] {
            let each = |name: &String| match accounts.get(name) {
                Some(all) => all.iter().map(|account| format!("{name}@{account}")).collect(),
                None => vec![name.clone()],
            };
            *chain = chain.iter().flat_map(each).collect();
        }
        config.agent = config.agents.first().cloned();
    }

    let mut workspace = WorkspaceConfig::read(&values, &["workspace"]);
    // From where the result goes, as long as nobody has said where that is: from where clones come.
    workspace.fetch_from =
        (workspace.fetch == Fetch::On).then(|| merge.push.clone().unwrap_or_else(|| "origin".into()));
    let policy = Policy {
        merge_approval: merge.approval,
        deadline: values.take(&["decisions"], "deadline", Kind::Duration(0), None),
        budgets: budgets(&values, &names(all, "budget"), found),
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
        on_retry: on_retry(&roles),
        broken: None,
    };
    let workflow = workflow(&values, names(all, "roles"), found)?.under(policy);
    Ok(Config { fleet, workflow, roles, agents, adapters, gates, retry, workspace, merge, trust })
}

fn budgets(values: &Values<'_>, names: &[String], found: &mut Findings) -> Budgets {
    let mut budgets = Budgets::default();
    for name in names {
        let limits = match name.as_str() {
            "attempt" => &mut budgets.attempt,
            "task" => &mut budgets.task,
            "role" => &mut budgets.role,
            "day" => &mut budgets.day,
            _ => {
                let message = "is no scope of a budget; there are: attempt, task, role, day".into();
                let origin = values.origin("budget", name);
                found.faults.push(Fault { origin, key: format!("budget.{name}"), message });
                continue;
            }
        };
        *limits = keys::budget::read(values, &["budget", name]);
        limits.starts = values.take(&["budget", name], "starts", Kind::Count(0), None);
    }
    budgets
}

/// Puts the tables below `adapters` together again.
fn adapters(all: &Flat) -> BTreeMap<String, toml::Table> {
    let mut adapters: BTreeMap<String, toml::Table> = BTreeMap::new();
    for (path, (value, _)) in all.iter().filter(|(path, _)| path.len() > 2 && path[0] == "adapters") {
        let mut table = adapters.entry(path[1].clone()).or_default();
        let (last, above) = path[2..].split_last().expect("longer than two");
        for name in above {
            let below = table.entry(name.clone()).or_insert_with(|| Value::Table(toml::Table::new()));
            if !below.is_table() {
                // A later layer has the last word on what stands there.
                *below = Value::Table(toml::Table::new());
            }
            table = below.as_table_mut().expect("made a table");
        }
        table.insert(last.clone(), value.clone());
    }
    adapters
}

fn agent(
    values: &Values<'_>,
    name: &str,
    adapters: &BTreeMap<String, toml::Table>,
    found: &mut Findings,
) -> AgentConfig {
    let at = |member| ["agents", name, member];
    let below = |member: &'static str| {
        let own = values.below(&["agents", name, member]).filter(|(path, _)| path.len() == 4);
        own.filter_map(|(path, value)| Some((path[3].clone(), value.as_str()?.to_owned())))
    };
    let mut agent = AgentConfig::read(values, &["agents", name]);
    (agent.kind, agent.adapter) = match (values.text(&at("kind")).as_deref(), agent.adapter) {
        (Some("sim"), _) => (AgentKind::Sim, None),
        (Some("command"), _) | (None, None) => (AgentKind::Command, None),
        (Some(adapter), None) => (AgentKind::Adapter, Some(adapter.to_owned())),
        (_, Some(adapter)) => (AgentKind::Adapter, Some(adapter)),
    };
    match agent.kind {
        AgentKind::Command if values.get(&at("argv")).is_none() => {
            found.faults.push(missing(values, "agents", name, "argv", "a program and its arguments"));
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
    agent.set = below("set").collect();
    agent.exits = below("exits").filter_map(|(code, class)| Some((code.parse().ok()?, class.parse().ok()?))).collect();
    agent
}

/// Returns the names of an agent's accounts.
fn accounts(values: &Values<'_>, name: &str) -> Vec<String> {
    let own = values.below(&["agents", name, "accounts"]).filter(|(path, _)| path.len() == 6);
    let mut all: Vec<String> = own.map(|(path, _)| path[3].clone()).collect();
    all.dedup();
    all
}

/// Returns an agent with one of its accounts.
fn of_account(values: &Values<'_>, name: &str, account: &str, agent: &AgentConfig) -> AgentConfig {
    let mut agent = AgentConfig { account: Some(account.into()), ..agent.clone() };
    let own = values.below(&["agents", name, "accounts", account]).filter(|(path, _)| path.len() == 6);
    agent.set.extend(own.filter_map(|(path, value)| Some((path[5].clone(), value.as_str()?.to_owned()))));
    agent
}

/// Returns who works on what has failed before, where a role says so.
fn on_retry(roles: &BTreeMap<Role, RoleConfig>) -> BTreeMap<Role, OnRetry> {
    let some = roles.iter().filter(|(_, config)| !config.on_retry.is_empty());
    let chain = |config: &RoleConfig| OnRetry {
        only: config.on_retry.iter().all(|name| !config.agents.contains(name)),
        agents: config.on_retry.clone(),
    };
    some.map(|(role, config)| (role.clone(), chain(config))).collect()
}

fn gate(values: &Values<'_>, name: &str, found: &mut Findings) -> GateConfig {
    if values.get(&["gates", name, "argv"]).is_none() {
        found.faults.push(missing(values, "gates", name, "argv", "a program and its arguments"));
    }
    GateConfig::read(values, &["gates", name])
}

fn missing(values: &Values<'_>, section: &str, name: &str, member: &str, expected: &str) -> Fault {
    let message = format!("is missing; expected {expected}");
    Fault { origin: values.origin(section, name), key: format!("{section}.{name}.{member}"), message }
}

/// Returns the workflow: the shipped roles in their order, then the project's own by name.
fn workflow(values: &Values<'_>, mut names: Vec<String>, found: &mut Findings) -> Result<Workflow, Fault> {
    let shipped = Workflow::shipped();
    let place = |name: &String| shipped.rules().iter().position(|rule| rule.role.as_str() == name);
    names.sort_by_key(|name| (place(name).unwrap_or(usize::MAX), name.clone()));
    let mut rules = Vec::new();
    for name in &names {
        let text = |member| values.text(&["roles", name, member]).map(Status::new);
        let mut needed = |member| match text(member) {
            Some(status) => status,
            None => {
                // A value that is there and is wrong has been noted already.
                if values.get(&["roles", name, member]).is_none() {
                    found.faults.push(missing(values, "roles", name, member, "a status word"));
                }
                Status::new("")
            }
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
        });
    }
    if !found.faults.is_empty() {
        return Ok(shipped);
    }
    Workflow::new(rules).map_err(|bad| {
        let origin = names.iter().map(|name| values.origin("roles", name)).find(|origin| *origin != Origin::Default);
        Fault {
            origin: origin.unwrap_or(Origin::Default),
            key: "roles".into(),
            message: format!("is no table that works: {bad}"),
        }
    })
}
