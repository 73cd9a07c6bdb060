//! The sandbox of each agent, gate and hook: what the tables say together, and what none of them may say.
//!
//! The tables hold the same keys. From wide to narrow: built in, `[sandbox]`, the agent's, the role's, the gate's. Lists
//! add up, but for `require`, which a narrower table replaces: only a person's own word, or a trusted project's, comes
//! that far with less (`tighten.rs`).

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use toml::Value;

use super::{
    Config, World,
    declare::FromValue,
    fault::Findings,
    flat::{Flat, Values},
    form::Form,
    keys::{Sandbox, SandboxMode},
    kind::Kind,
    lookup::{self, Place},
    values::{self, wrong},
};
use oodatcaa_core::{Guarantee, Network, Role, layout::Layout, text};

/// Reads what a configuration says of the network; fails with what was expected.
pub(crate) fn network(value: &Value) -> Result<Network, String> {
    const EXPECTED: &str = "\"all\", \"none\", { ports = [443] } or { proxy = \"127.0.0.1:3128\" }";
    let table = match value {
        Value::String(word) if word == "all" => return Ok(Network::All),
        Value::String(word) if word == "none" => return Ok(Network::None),
        Value::Table(table) => table,
        other => return Err(wrong(other, EXPECTED)),
    };
    match table.iter().collect::<Vec<_>>().as_slice() {
        [(name, value)] if *name == "ports" => {
            let port = |value: &Value| value.as_integer().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
            let ports = value.as_array().and_then(|all| all.iter().map(port).collect::<Option<Vec<u16>>>());
            let ports = ports.filter(|ports| (1..=64).contains(&ports.len()));
            ports.map(Network::Ports).ok_or_else(|| "has `ports`; expected numbers of ports, e.g. [443, 22]".into())
        }
        [(name, value)] if *name == "proxy" => {
            let address = value.as_str().and_then(|word| word.parse().ok());
            address
                .map(Network::Proxy)
                .ok_or_else(|| "has `proxy`; expected an address and a port, e.g. \"127.0.0.1:3128\"".into())
        }
        _ => {
            let names: Vec<String> = table.keys().map(|name| text::one_line(name)).collect();
            Err(format!("is a table of `{}`; expected {EXPECTED}", names.join("`, `")))
        }
    }
}

impl FromValue for Network {
    fn from_value(_: Kind, value: Option<&Value>) -> Self {
        value.and_then(|value| network(value).ok()).unwrap_or_default()
    }
}

impl FromValue for BTreeSet<Guarantee> {
    fn from_value(_: Kind, value: Option<&Value>) -> Self {
        let words = value.and_then(|value| values::list(value).ok()).unwrap_or_default();
        words.into_iter().filter_map(|word| word.parse().ok()).collect()
    }
}

impl FromValue for Vec<PathBuf> {
    fn from_value(_: Kind, value: Option<&Value>) -> Self {
        let words = value.and_then(|value| values::list(value).ok()).unwrap_or_default();
        words.into_iter().map(PathBuf::from).collect()
    }
}

/// The settings of all tables of sandboxes, by their paths; places are absolute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sandboxes(Flat);

impl Sandboxes {
    /// Collects them, and notes what no sandbox may say.
    pub(crate) fn of(all: &Flat, world: &World, layout: &Layout, found: &mut Findings) -> Self {
        let values = Values::of(all);
        let mut own = Flat::new();
        for (path, (value, origin)) in all {
            let Some(key) = path.last().filter(|_| is_key(path)) else { continue };
            let mut value = value.clone();
            let Place::Leaf(declared) = lookup::place(path) else { continue };
            if declared.kind == Kind::List(Form::Place) {
                let parts: Vec<&str> = path.iter().map(String::as_str).collect();
                let mut places = Vec::new();
                for word in values::list(&value).unwrap_or_default() {
                    let place = absolute(word, world, layout).ok_or_else(|| {
                        format!("names `{}`, and nobody knows your home: HOME is not set", text::one_line(word))
                    });
                    match place.and_then(|place| match key.as_str() {
                        "allow_write" => may_be_written(&place, word, world, layout).map(|()| place),
                        _ => Ok(place),
                    }) {
                        Ok(place) => places.push(Value::String(place.to_string_lossy().into_owned())),
                        Err(message) => found.faults.push(values.fault(&parts, message)),
                    }
                }
                value = Value::Array(places);
            }
            own.insert(path.clone(), (value, origin.clone()));
        }
        Self(own)
    }

    /// Puts the tables together, the widest first.
    fn together(&self, tables: &[Vec<&str>]) -> Sandbox {
        let mut merged = Flat::new();
        for (path, (value, origin)) in tables.iter().flat_map(|table| self.table(table)) {
            let key = path.last().expect("a key").clone();
            let at = vec!["sandbox".to_owned(), key];
            let value = match (merged.get(&at), value) {
                (Some((Value::Array(old), _)), Value::Array(new)) if at[1] != "require" => {
                    Value::Array(old.iter().chain(new).cloned().collect())
                }
                _ => value.clone(),
            };
            merged.insert(at, (value, origin.clone()));
        }
        Sandbox::read(&Values::of(&merged), &["sandbox"])
    }

    fn table<'a>(
        &'a self,
        table: &'a [&'a str],
    ) -> impl Iterator<Item = (&'a Vec<String>, &'a (Value, super::Origin))> {
        self.0
            .iter()
            .filter(move |(path, _)| path.len() == table.len() + 1 && path.iter().zip(table).all(|(a, b)| a == b))
    }

    /// Notes what cannot be had together: `tables` are those of one program, the widest first.
    fn check(&self, tables: &[Vec<&str>], found: &mut Findings) {
        let sandbox = self.together(tables);
        let mut fault = |keys: [&str; 2], message: &str| {
            // Whoever spoke last made it so.
            let is_it = |path: &[String]| path.last().is_some_and(|last| keys.contains(&last.as_str()));
            let said = tables.iter().rev().flat_map(|table| self.table(table)).filter(|(path, _)| is_it(path));
            let said = said.min_by_key(|(_, (_, origin))| *origin == super::Origin::Default);
            let Some((path, (_, origin))) = said else { return };
            let fault = super::Fault { origin: origin.clone(), key: path.join("."), message: message.into() };
            if !found.faults.contains(&fault) {
                found.faults.push(fault);
            }
        };
        if sandbox.require.contains(&Guarantee::Network) && sandbox.network == Network::All {
            fault(
                ["require", "network"],
                "cannot be: \"network\" is required and the network is open; say network = \"none\", ports or a proxy, or leave \"network\" out of `require`",
            );
        }
        if sandbox.nested && sandbox.mode == SandboxMode::Landlock {
            fault(
                ["nested", "mode"],
                "cannot be: a program that brings its own sandbox needs a namespace, which mode = \"landlock\" does not make",
            );
        }
    }
}

impl Config {
    /// Returns the sandbox of an agent that works for a role.
    pub fn sandbox(&self, agent: &str, role: &Role) -> Sandbox {
        self.sandboxes.together(&of_agent(agent, role.as_str()))
    }

    /// Returns the sandbox of a gate that runs for a role: with the role's network where the gate says none of its own.
    pub fn sandbox_of_gate(&self, role: &Role, gate: &str) -> Sandbox {
        self.sandboxes.together(&of_gate(gate, role.as_str()))
    }

    /// Returns the sandbox of `setup` and `teardown`.
    pub fn sandbox_of_hooks(&self) -> Sandbox {
        self.sandboxes.together(&[vec!["sandbox"]])
    }

    /// Notes what the tables say together and cannot mean.
    pub(crate) fn check_sandboxes(&self, found: &mut Findings) {
        let all = &self.sandboxes;
        all.check(&[vec!["sandbox"]], found);
        for (role, config) in &self.roles {
            let agents = config.agents.iter().chain(&config.on_retry);
            agents.for_each(|agent| all.check(&of_agent(agent, role.as_str()), found));
            // Each role, also one that no agent is named for yet.
            all.check(&of_agent("", role.as_str()), found);
            config.gates.iter().for_each(|gate| all.check(&of_gate(gate, role.as_str()), found));
        }
    }
}

/// The tables of one program, the widest first.
type Tables<'a> = Vec<Vec<&'a str>>;

fn of_agent<'a>(agent: &'a str, role: &'a str) -> Tables<'a> {
    // Accounts of an agent share its table.
    let agent = agent.split_once('@').map_or(agent, |(agent, _)| agent);
    vec![vec!["sandbox"], vec!["agents", agent, "sandbox"], vec!["roles", role, "sandbox"]]
}

fn of_gate<'a>(gate: &'a str, role: &'a str) -> Tables<'a> {
    vec![vec!["sandbox"], vec!["roles", role, "sandbox"], vec!["gates", gate, "sandbox"]]
}

/// Tells whether a path is a key of one of the tables.
fn is_key(path: &[String]) -> bool {
    match path {
        [sandbox, _] => sandbox == "sandbox",
        [section, _, sandbox, _] => sandbox == "sandbox" && ["agents", "roles", "gates"].contains(&section.as_str()),
        _ => false,
    }
}

/// Returns what a narrower table's `require` must hold at least to loosen nothing: all that any other table requires.
pub(crate) fn required_elsewhere(under: &Flat, path: &[String]) -> Option<Value> {
    let is_required = |path: &[String]| is_key(path) && path.last().is_some_and(|key| key == "require");
    if !is_required(path) {
        return None;
    }
    let built_in = lookup::place(&["sandbox".into(), "require".into()]);
    let built_in = match built_in {
        Place::Leaf(key) if !under.contains_key(&["sandbox".to_owned(), "require".to_owned()][..]) => {
            key.default_value()
        }
        _ => None,
    };
    let others = under.iter().filter(|(other, _)| is_required(other)).map(|(_, (value, _))| value.clone());
    Some(Value::Array(others.chain(built_in).filter_map(|value| value.as_array().cloned()).flatten().collect()))
}

/// Returns the place that a configuration names: absolute, below `~/`, or below the project; `None` without a home.
fn absolute(word: &str, world: &World, layout: &Layout) -> Option<PathBuf> {
    let place = match word.strip_prefix('~') {
        Some(below) => world.home()?.join(below.trim_start_matches('/')),
        None => layout.root().join(word),
    };
    // Without the dots and slashes that would make two spellings of one place.
    Some(place.components().filter(|part| !matches!(part, Component::CurDir)).collect())
}

/// Returns what nobody else may be let write to: whatever of it is the worst.
fn kept(world: &World, layout: &Layout) -> Vec<PathBuf> {
    let ours = [layout.mark(), layout.root().join(".git"), layout.leases(), layout.locks()];
    let runtime = [layout.runtime(), layout.pids(), layout.logs()];
    let users = [world.state_dir(), world.user_config().and_then(|file| Some(file.parent()?.to_owned()))];
    ours.into_iter().chain(runtime).chain(users.into_iter().flatten()).collect()
}

/// Checks a place that a configuration lets programs write to.
fn may_be_written(place: &Path, word: &str, world: &World, layout: &Layout) -> Result<(), String> {
    let word = text::one_line(word);
    // By its name, and by where links lead.
    for place in [place.to_owned(), real(place)] {
        for kept in kept(world, layout) {
            let all = [kept.clone(), real(&kept)];
            let how = |kept: &PathBuf| match () {
                () if place == *kept => Some("is"),
                () if place.starts_with(kept) => Some("lies in"),
                () if kept.starts_with(&place) => Some("holds"),
                () => None,
            };
            if let Some(how) = all.iter().find_map(how) {
                return Err(format!(
                    "lets programs write to `{word}`, which {how} {}: what lies there decides what runs and what is approved; name a narrower place",
                    kept.display()
                ));
            }
        }
        if world.home().is_some_and(|home| [home.to_owned(), real(home)].iter().any(|home| home.starts_with(&place))) {
            return Err(format!("lets programs write to all of your home by `{word}`; name a narrower place"));
        }
    }
    Ok(())
}

/// Returns where a path leads: what is there of it without links, and the rest as it is named.
pub fn real(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, real)) = found else { return path.into() };
    match path.strip_prefix(above) {
        Ok(below) if !below.as_os_str().is_empty() => real.join(below),
        _ => real,
    }
}

/// Says in words what a setting of a sandbox gives to the programs that it is for; `None` for another key.
pub fn meaning(key: &str, value: &Value) -> Option<String> {
    let path: Vec<String> = key.split('.').map(Into::into).collect();
    let key = path.last().filter(|_| is_key(&path))?;
    let all = || {
        let words = values::list(value).unwrap_or_default();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    };
    let who = match (path[0].as_str(), path.get(1)) {
        ("agents", Some(name)) => format!("the agent {name}"),
        ("roles", Some(name)) => format!("agents and gates of the role {name}"),
        ("gates", Some(name)) => format!("the gate {name}"),
        _ => "agents, gates and hooks".into(),
    };
    let words = match (key.as_str(), value.as_str()) {
        ("mode", Some("off")) => "may do all that you may do: nothing is confined".into(),
        ("mode", Some(mode)) => format!("may be confined by mode {mode}"),
        ("require", _) => format!("may run as soon as all of this can be kept: {}", all()),
        ("allow_write", _) => format!("may write to {}", all()),
        ("allow_read", _) => format!("may read {}, also where it is kept from others", all()),
        ("deny_read", _) => format!("may not read {} beside what is built in", all()),
        ("allow_sockets", _) => format!("may connect to {}: what listens there is not confined", all()),
        ("network", Some("none")) => "may reach no network".into(),
        ("network", Some(_)) => "may reach the whole network".into(),
        ("network", None) => match network(value).ok()? {
            Network::Ports(ports) => {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                format!("may reach these ports, on any host: {}", ports.join(", "))
            }
            Network::Proxy(proxy) => format!("may reach what the proxy {proxy} lets through"),
            Network::All | Network::None => return None,
        },
        ("nested", _) if value.as_bool() == Some(true) => "may make namespaces of their own".into(),
        ("home", Some("all")) => "may read your home, but for what is known to be secret".into(),
        ("caches", Some("shared")) => "may read your caches".into(),
        _ => return None,
    };
    Some(text::one_line(&format!("{who} {words}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        format!("v = {text}").parse::<toml::Table>().expect("TOML")["v"].clone()
    }

    #[test]
    fn a_network_is_a_word_or_a_table_of_one_key() {
        let read = |text: &str| network(&value(text));
        assert_eq!(read("\"all\""), Ok(Network::All));
        assert_eq!(read("\"none\""), Ok(Network::None));
        assert_eq!(read("{ ports = [443, 22] }"), Ok(Network::Ports(vec![443, 22])));
        let proxy = "127.0.0.1:3128".parse().expect("an address");
        assert_eq!(read("{ proxy = \"127.0.0.1:3128\" }"), Ok(Network::Proxy(proxy)));
        for bad in [
            "\"some\"",
            "true",
            "{}",
            "{ ports = [] }",
            "{ ports = [0] }",
            "{ ports = [70000] }",
            "{ ports = \"443\" }",
            "{ proxy = \"proxy:3128\" }",
            "{ port = [443] }",
            "{ ports = [443], proxy = \"127.0.0.1:3128\" }",
        ] {
            let words = read(bad).expect_err(bad);
            assert!(words.contains("expected"), "{bad}: {words}");
        }
    }

    #[test]
    fn every_setting_has_its_meaning_in_words() {
        for (key, text, words) in [
            ("sandbox.mode", "\"off\"", "agents, gates and hooks may do all that you may do: nothing is confined"),
            ("roles.tester.sandbox.network", "\"none\"", "agents and gates of the role tester may reach no network"),
            ("agents.a.sandbox.allow_write", "[\"~/.a\"]", "the agent a may write to ~/.a"),
            ("gates.g.sandbox.require", "[]", "the gate g may run as soon as all of this can be kept: nothing"),
        ] {
            assert_eq!(meaning(key, &value(text)).as_deref(), Some(words));
        }
        assert_eq!(meaning("fleet.mode", &value("\"off\"")), None);
    }
}
