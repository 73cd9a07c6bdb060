//! From files, environment and flags to a checked configuration: the order of the steps.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::{
    ConfigError, Fault, Loaded, NamedCommand, Origin, Overrides, Setting, Trust, World, build,
    fault::Findings,
    flat::Flat,
    form,
    keys::SCOPES,
    kind::Kind,
    layers,
    lookup::{self, Place},
    secrets, tighten,
    trust::{self, Fingerprint},
    values,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::text::one_line;

/// Loads all layers; `instead` is taken for what the project's own file holds.
pub(super) fn load(
    world: &World,
    layout: &Layout,
    overrides: &Overrides,
    instead: Option<&str>,
) -> Result<Loaded, ConfigError> {
    let mut found = Findings::default();
    let mut users = Flat::new();
    if let Some(path) = world.user_config()
        && let Some(text) = layers::read_own(&path)?
    {
        users = checked(layers::flatten(&text, &path, &[])?, &mut found);
    }
    let above = [layers::environment(world), overrides.0.clone()].map(|layer| checked(layer, &mut found));

    let (project, fingerprint, refused) = project_files(layout, instead)?;
    let refused = refused.iter().map(|why| format!("an adapter of the project is not used: {}", one_line(why)));
    found.warnings.extend(refused);
    let commands = commands(&project);
    let project: Vec<Flat> = project.into_iter().map(|layer| checked(layer, &mut found)).collect();
    // Which roles there are is said by the last of these layers that says it.
    let preset = |layers: &mut dyn Iterator<Item = &Flat>| layers.filter_map(layers::preset).last().unwrap_or_default();
    let mut tightened = layers::shipped(preset(&mut [&users].into_iter().chain(&above)))?;
    layers::lay(&mut tightened, users.clone());
    let mut held = Flat::new();
    for layer in &project {
        held.extend(tighten::lay(&mut tightened, layer.clone()));
    }
    let chosen: Vec<Setting> = held.iter().filter(|(path, _)| command_of(path).is_none()).map(build::setting).collect();
    let mut asked: Vec<String> = commands.iter().map(|c| format!("{} `{}`", c.what, c.name)).collect();
    asked.extend(chosen.iter().map(|setting| format!("`{}`", setting.key)));
    asked.extend(fingerprint.prompts().map(|name| format!("prompt `{name}`")));
    let trust = trust_of(world, layout, &asked, &fingerprint, &mut found);
    let mut all = if matches!(trust, Trust::Untrusted { .. }) {
        tightened
    } else {
        let mut all = layers::shipped(preset(&mut [&users].into_iter().chain(&project).chain(&above)))?;
        layers::lay(&mut all, users);
        project.into_iter().for_each(|layer| layers::lay(&mut all, layer));
        all
    };
    above.into_iter().for_each(|layer| layers::lay(&mut all, layer));
    leave_out_strangers(&mut all, world, &mut found);
    layers::fill_in_defaults(&mut all);

    let dropped = if matches!(trust, Trust::Untrusted { .. }) { commands.as_slice() } else { &[] };
    let config = build::build(&all, dropped, trust, (world, layout), &mut found);
    if !found.faults.is_empty() {
        found.faults.sort_by(|a, b| a.origin.cmp(&b.origin));
        return Err(ConfigError::Invalid(found.faults));
    }
    Ok(Loaded {
        config,
        settings: build::settings(&all),
        warnings: found.warnings,
        hints: found.hints,
        trust,
        commands,
        chosen,
        fingerprint,
        root: layout.root().into(),
    })
}

/// Leaves out what the user says, for all projects, of roles of a preset that is not this project's.
fn leave_out_strangers(all: &mut Flat, world: &World, found: &mut Findings) {
    let preset = layers::preset(all).unwrap_or_default();
    let Some(users) = world.user_config() else { return };
    let is_role = |path: &Vec<String>| path.len() > 1 && path[0] == "roles";
    let roles: BTreeSet<String> = all.keys().filter(|path| is_role(path)).map(|path| path[1].clone()).collect();
    for (role, other) in roles.iter().filter_map(|role| Some((role, preset.stranger(role)?))) {
        let is_of_it = |path: &Vec<String>| is_role(path) && path[1] == *role;
        let mut said = all.iter().filter(|(path, _)| is_of_it(path)).map(|(_, (_, origin))| origin);
        if said.all(|origin| matches!(origin, Origin::File { path, .. } if *path == users)) {
            let (other, ours) = (other.as_str(), preset.as_str());
            found.hints.push(format!(
                "{}: `roles.{role}` is of the preset `{other}`, and this project's is `{ours}`",
                users.display()
            ));
            all.retain(|path, _| !is_of_it(path));
        }
    }
}

/// Reads the project's files once, each a layer: what is hashed is what is used.
fn project_files(layout: &Layout, instead: Option<&str>) -> Result<(Vec<Flat>, Fingerprint, Vec<String>), ConfigError> {
    let config = match instead {
        Some(text) => Some(text.to_owned()),
        None => layers::read(layout, &layout.config())?,
    };
    let local = layers::read(layout, &layout.local_config())?;
    let (adapters, refused) = layers::adapters(layout);
    let fingerprint =
        Fingerprint::of(config.as_deref(), local.as_deref(), (&adapters, &refused), trust::prompts(layout));
    let mut all = Vec::new();
    for (name, text) in &adapters {
        all.push(layers::flatten(text, &layout.adapters().join(format!("{name}.toml")), &["adapters", name])?);
    }
    for (path, text) in [(layout.config(), config), (layout.local_config(), local)] {
        if let Some(text) = text {
            all.push(layers::flatten(&text, &path, &[])?);
        }
    }
    Ok((all, fingerprint, refused))
}

/// Returns what kind of command a path belongs to: one that may only run when the user trusts the project.
fn command_of(path: &[String]) -> Option<&'static str> {
    match (path.first()?.as_str(), path.get(1).map(String::as_str)) {
        ("agents", _) => Some("agent"),
        ("adapters", _) => Some("adapter"),
        ("gates", _) => Some("gate"),
        // What runs something, or hands something over to what runs.
        ("workspace", Some("setup" | "teardown" | "hook_env")) => Some("hook"),
        _ => None,
    }
}

/// Returns the commands that the project's files name, for the user to look at.
fn commands(project: &[Flat]) -> Vec<NamedCommand> {
    let mut commands: BTreeMap<(&'static str, String), NamedCommand> = BTreeMap::new();
    for (path, (value, _)) in project.iter().flatten() {
        let Some((what, name)) = command_of(path).zip(path.get(1)) else { continue };
        if what == "hook" && value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        let empty = || NamedCommand { what, name: name.clone(), ..NamedCommand::default() };
        let command = commands.entry((what, name.clone())).or_insert_with(empty);
        let texts = || values::list(value).unwrap_or_default().into_iter().map(String::from).collect();
        // What a clone brings is shown before anybody has looked at it, so secrets are masked here already.
        let shown = build::masked(path, value);
        let below: Vec<&str> = path[2..].iter().map(String::as_str).collect();
        match (what, below.as_slice()) {
            ("hook", []) if name == "hook_env" => command.env = texts(),
            ("hook", []) | ("agent" | "gate", ["argv"]) => command.argv = texts(),
            ("agent" | "gate", ["env"]) => command.env = texts(),
            ("agent", ["set", variable]) => {
                command.set.insert((*variable).into(), shown.as_str().unwrap_or(secrets::MASK).into());
            }
            (_, []) => {}
            (_, below) => {
                command.more.insert(below.join("."), shown.to_string());
            }
        }
    }
    commands.into_values().collect()
}

/// The number of things that are named in a warning.
const NAMED: usize = 12;

fn trust_of(
    world: &World,
    layout: &Layout,
    asked: &[String],
    fingerprint: &Fingerprint,
    found: &mut Findings,
) -> Trust {
    let state = trust::lookup(world, layout, fingerprint).unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        found.warnings.push(format!("nothing counts as trusted: failed to {error}{cause}"));
        Trust::Untrusted { changed: false }
    });
    let Trust::Untrusted { changed } = state else { return state };
    if asked.is_empty() {
        return Trust::NothingToTrust;
    }
    let more = asked.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = asked.iter().take(NAMED).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    let why = if changed { "it has changed since you trusted it" } else { "you have not trusted it" };
    found.warnings.push(format!(
        "this project's files count only where they make something stricter, because {why}; not used: {names}{more}; look at them and allow them: agentctl config trust"
    ));
    state
}

/// Returns the entries of a layer that are declared, by their new names; notes the others.
fn checked(mut layer: Flat, found: &mut Findings) -> Flat {
    let old: Vec<_> = layer.keys().filter_map(|path| Some((path.clone(), lookup::renamed(path)?))).collect();
    for (path, new) in old {
        let Some((value, origin)) = layer.remove(&path) else { continue };
        let (was, now) = (one_line(&path.join(".")), one_line(&new.join(".")));
        let more = if layer.contains_key(&new) { ", which is there as well and counts" } else { "" };
        found.hints.push(format!("{origin}: `{was}` is now called `{now}`{more}"));
        layer.entry(new).or_insert((value, origin));
    }
    gather(&mut layer);
    layer.retain(|path, (value, origin)| match check(path, value) {
        Ok(()) => true,
        Err(message) => {
            found.faults.push(Fault { origin: origin.clone(), key: one_line(&path.join(".")), message });
            false
        }
    });
    layer
}

/// Makes one value of what stands below a key that takes a table.
fn gather(layer: &mut Flat) {
    let below = |path: &Vec<String>| match lookup::place(path) {
        Place::Below(key) if key.kind == Kind::Network => Some(key.path.split('.').count()),
        _ => None,
    };
    let parts: Vec<_> = layer.keys().filter_map(|path| Some((path.clone(), below(path)?))).collect();
    for (path, depth) in parts {
        let Some((value, origin)) = layer.remove(&path) else { continue };
        let whole = || (Value::Table(toml::Table::new()), origin);
        let (table, _) = layer.entry(path[..depth].to_vec()).or_insert_with(whole);
        if let Some(table) = table.as_table_mut() {
            table.insert(path[depth..].join("."), value);
        }
    }
}

/// Checks one entry; says what is wrong with it.
fn check(path: &[String], value: &Value) -> Result<(), String> {
    match lookup::place(path) {
        // A key that nobody reads would take its proof or its limit away without a word.
        Place::Unknown => {
            let table = (1..path.len()).rev().find(|&n| matches!(lookup::place(&path[..n]), Place::Table)).unwrap_or(0);
            let meant = lookup::meant(&path[table], &lookup::siblings(&path[..table]));
            let meant = meant.unwrap_or_else(|| "see which there are: agentctl config show --default".into());
            Err(format!("is not a known key; {meant}"))
        }
        Place::Below(key) => {
            let below = key.path.split('.').count();
            Err(format!("is below `{}`, which takes a value and no table", path[..below].join(".")))
        }
        Place::Table => {
            names(path).and_then(|()| value.is_table().then_some(()).ok_or_else(|| values::wrong(value, "a table")))
        }
        Place::Leaf(key) => names(path).and_then(|()| key.kind.check(value)),
    }
}

/// Checks the names that a path holds.
fn names(path: &[String]) -> Result<(), String> {
    match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["agents", agent, "set", variable, ..] => form::named(agent).and_then(|()| form::variable(variable)),
        ["agents", agent, "accounts", account, "set", variable, ..] => {
            form::named(agent).and_then(|()| form::named(account)).and_then(|()| form::variable(variable))
        }
        ["agents", agent, "exits", code, ..] => {
            form::named(agent)?;
            match code.parse::<u8>() {
                Ok(1..) => Ok(()),
                _ => Err(format!("names the exit code `{code}`; expected a number from 1 to 255")),
            }
        }
        ["budget", scope, ..] if !SCOPES.contains(scope) => {
            Err(format!("is not a scope of a budget; there are: {}", SCOPES.join(", ")))
        }
        ["roles" | "agents" | "adapters" | "gates" | "schedules" | "handoffs", name, ..] => form::named(name),
        _ => Ok(()),
    }
}
