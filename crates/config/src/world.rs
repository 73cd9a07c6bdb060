//! The environment as the configuration sees it: variables, and the user's directories by the XDG rules.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use oodatcaa_core::layout::Layout;
use oodatcaa_sys::project::Identity;

/// `true` where an agent has started this process.
static WITHIN_AN_ATTEMPT: AtomicBool = AtomicBool::new(false);

/// Environment variables, taken once; tests make their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    vars: BTreeMap<String, String>,
}

impl World {
    /// Returns the variables of this process; those that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let vars =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let granted = !WITHIN_AN_ATTEMPT.load(Ordering::Relaxed);
        let grants = |name: &str| [super::trust::TRUST_ALL, super::layers::SANDBOX].contains(&name);
        Self { vars: vars.filter(|(name, _)| granted || !grants(name)).collect() }
    }

    /// Keeps every variable of this process from making it trust a project, or confine nothing: an agent could have set
    /// it.
    pub fn is_within_an_attempt() {
        WITHIN_AN_ATTEMPT.store(true, Ordering::Relaxed);
    }

    /// Returns a world of just these variables.
    pub fn of<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { vars: vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }

    /// Returns the same with one more variable.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut world = self.clone();
        world.vars.insert(name.into(), value.into());
        world
    }

    /// Returns a variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the user's configuration file: `$XDG_CONFIG_HOME/oodatcaa/config.toml`, else below `~/.config`.
    pub fn user_config(&self) -> Option<PathBuf> {
        Some(self.base("XDG_CONFIG_HOME", ".config")?.join("oodatcaa/config.toml"))
    }

    /// Returns the directory of our own state: `$XDG_STATE_HOME/oodatcaa`, else below `~/.local/state`.
    pub fn state_dir(&self) -> Option<PathBuf> {
        Some(self.base("XDG_STATE_HOME", ".local/state")?.join("oodatcaa"))
    }

    /// Adds to a project the directory of the user's state that is its own. It is found by device and inode, so that it
    /// goes along with a rename and not with a copy.
    pub fn at_home(&self, layout: Layout) -> Layout {
        let Ok(identity) = Identity::of(layout.root()) else { return layout };
        let Some(state) = self.state_dir() else { return layout };
        let id = identity.id(layout.root());
        layout.kept_in(state.join("projects").join(id.to_string()))
    }

    /// Returns the user's home directory.
    pub fn home(&self) -> Option<&Path> {
        self.var("HOME").map(Path::new).filter(|path| path.is_absolute())
    }

    /// Applies the XDG rule: a variable that is not an absolute path counts as not set.
    fn base(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let named = self.var(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        named.or_else(|| Some(self.home()?.join(below_home)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xdg_rules_name_the_users_files() {
        let home = World::of([("HOME", "/h")]);
        assert_eq!(home.user_config(), Some("/h/.config/oodatcaa/config.toml".into()));
        assert_eq!(home.state_dir(), Some("/h/.local/state/oodatcaa".into()));
        let xdg = World::of([("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "relative")]);
        assert_eq!(xdg.user_config(), Some("/c/oodatcaa/config.toml".into()));
        assert_eq!(xdg.state_dir(), Some("/h/.local/state/oodatcaa".into()));
        assert_eq!(World::default().user_config(), None);
    }
}
