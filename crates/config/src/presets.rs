//! The tables of roles that ship, with their hand-offs: the lowest layer of a configuration, as text that anybody could
//! have written.

use super::{ConfigError, Origin, flat::Flat, keys::Preset, layers};

impl Preset {
    /// Lists all that ship.
    pub const ALL: [Self; 2] = [Self::Sprint, Self::Team];

    /// Returns its text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Sprint => include_str!("presets/sprint.toml"),
            Self::Team => include_str!("presets/team.toml"),
        }
    }

    /// Returns the names of its roles, in their order.
    pub fn role_names(self) -> Vec<&'static str> {
        self.roles().into_iter().map(|(name, _)| name).collect()
    }

    /// Returns its roles in their order, each with what is said of it.
    pub(super) fn roles(self) -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
        let mut roles: Vec<(_, Vec<_>)> = Vec::new();
        // Roles stand first.
        for line in self.text().lines().take_while(|line| !line.starts_with("[handoffs.")) {
            let head = line.strip_prefix("[roles.").and_then(|name| name.strip_suffix(']'));
            match (head, line.split_once(" = "), roles.last_mut()) {
                (Some(name), ..) => roles.push((name, Vec::new())),
                (None, Some(entry), Some((_, entries))) if !line.starts_with('#') => entries.push(entry),
                _ => {}
            }
        }
        roles
    }

    /// Returns the place of a role in its order.
    pub(super) fn place(self, role: &str) -> Option<usize> {
        self.roles().iter().position(|(name, _)| *name == role)
    }

    /// Returns the other preset to which a role belongs, where it does not belong to this one.
    pub(super) fn stranger(self, role: &str) -> Option<Self> {
        let others = || Self::ALL.into_iter().filter(|other| *other != self);
        others().find(|other| other.place(role).is_some()).filter(|_| self.place(role).is_none())
    }

    /// Returns its values.
    pub(super) fn layer(self) -> Result<Flat, ConfigError> {
        let read = layers::flatten(self.text(), std::path::Path::new(self.as_str()), &[])?;
        Ok(read.into_iter().map(|(path, (value, _))| (path, (value, Origin::Preset(self.as_str())))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_preset_is_a_configuration_and_its_roles_are_read_from_it() {
        for preset in Preset::ALL {
            let flat = preset.layer().expect("TOML");
            let entries: usize = preset.roles().iter().map(|(_, entries)| entries.len()).sum();
            let of_roles = flat.keys().filter(|path| path[0] == "roles").count();
            assert_eq!(of_roles, entries, "{}", preset.as_str());
            for (role, entries) in preset.roles() {
                for (key, value) in entries {
                    let (found, origin) = &flat[&["roles", role, key].map(String::from).to_vec()];
                    assert_eq!(*found, crate::declare::toml_value(value));
                    assert_eq!(origin.to_string(), format!("preset {}", preset.as_str()));
                }
            }
        }
        assert_eq!(Preset::Team.stranger("builder"), Some(Preset::Sprint));
        assert_eq!((Preset::Team.stranger("integrator"), Preset::Team.stranger("mine")), (None, None));
    }
}
