//! The secrets in a user's home, and what an adapter needs of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use toml::Table;

use crate::{Agent, descriptor, environment, find_program, home, probe};

/// Files and directories of credentials, keys and histories, below the home directory.
const SECRET: &[&str] = &[
    ".1password",
    ".aws",
    ".azure",
    ".bash_history",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".config/Bitwarden",
    ".config/containers/auth.json",
    ".config/doctl",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".config/glab-cli",
    ".config/glab",
    ".config/hub",
    ".config/op",
    ".config/rclone",
    ".config/sops",
    ".composer/auth.json",
    ".docker",
    ".fly",
    ".gem/credentials",
    ".git-credentials",
    ".gnupg",
    ".gradle/gradle.properties",
    ".kube",
    ".local/share/fish/fish_history",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".m2/settings-security.xml",
    ".m2/settings.xml",
    ".mysql_history",
    ".netrc",
    ".node_repl_history",
    ".npmrc",
    ".oci",
    ".password-store",
    ".pgpass",
    ".psql_history",
    ".pypirc",
    ".python_history",
    ".ssh",
    ".terraform.d/credentials.tfrc.json",
    ".terraformrc",
    ".vault-token",
    ".yarnrc.yml",
    ".zsh_history",
    // Browsers and mail.
    ".cache/mozilla",
    ".config/BraveSoftware",
    ".config/chromium",
    ".config/google-chrome",
    ".config/microsoft-edge",
    ".config/opera",
    ".config/vivaldi",
    ".mozilla",
    ".thunderbird",
    ".var/app",
    "snap/chromium",
    "snap/firefox",
];

/// The parts of programs and their settings, below the home directory; read also where only what is listed is.
const TOOLS: &[&str] = &[
    ".asdf",
    ".bun",
    ".cargo/bin",
    ".cargo/config.toml",
    ".cargo/registry",
    ".config/git/config",
    ".config/git/ignore",
    ".deno",
    ".dotnet",
    ".gitconfig",
    ".gitignore_global",
    ".local/bin",
    ".local/lib",
    ".local/share/mise",
    ".local/share/pnpm",
    ".local/share/uv",
    ".npm-global",
    ".nvm",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".sdkman",
    ".volta",
    "bin",
    "go/bin",
    "go/pkg/mod",
];

/// Lists what is secret in a home.
pub(super) fn below(home: &Path) -> impl Iterator<Item = PathBuf> {
    SECRET.iter().map(|name| home.join(name))
}

/// Lists what programs need of a home.
pub(super) fn tools(home: &Path) -> impl Iterator<Item = PathBuf> {
    TOOLS.iter().map(|name| home.join(name))
}

/// The user's own places that an adapter's program needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPlaces {
    /// Its sign-in, which it renews in place, or all of its state where that does not stand in a slot.
    pub write: Vec<PathBuf>,
    /// The other files that are linked into its slot.
    pub read: Vec<PathBuf>,
}

/// Returns the place of a sign-in that is kept from others: the directory that it lies in, unless that is all of a home.
fn kept(file: &Path, home: Option<&Path>) -> PathBuf {
    let above = file.parent().filter(|above| home.is_none_or(|home| !home.starts_with(above)));
    above.unwrap_or(file).to_owned()
}

/// Lists where the adapters keep their sign-in, those that ship and those of the configuration.
pub fn sign_ins(own: &BTreeMap<String, Table>, set: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let variable = home::lookup(set);
    let user = variable("HOME").map(PathBuf::from);
    let names: BTreeSet<&str> =
        descriptor::SHIPPED.iter().map(|(name, _)| *name).chain(own.keys().map(String::as_str)).collect();
    let described = names.into_iter().filter_map(|name| descriptor::load(name, own).ok());
    let mut all = BTreeSet::new();
    for descriptor in described {
        let patterns = descriptor.env.login_files.iter().chain(descriptor.home.links.values().flatten());
        let places = patterns.filter_map(|pattern| probe::place(pattern, &variable));
        all.extend(places.filter(|place| place.is_absolute()).map(|place| kept(&place, user.as_deref())));
    }
    all.into_iter().collect()
}

impl Agent {
    /// Returns what its program needs of the user's own, with its state in a slot's directory or without.
    pub fn own_places(&self, slot: Option<&Path>) -> OwnPlaces {
        let mut program = self.places_of_program();
        let Some(descriptor) = self.descriptor() else { return OwnPlaces { write: Vec::new(), read: program } };
        let variable = home::lookup(&self.config.set);
        let user = variable("HOME").map(PathBuf::from);
        let found = |patterns: &[String]| -> Vec<PathBuf> {
            let places = patterns.iter().filter_map(|pattern| probe::place(pattern, &variable));
            places.filter(|place| place.is_absolute()).collect()
        };
        let logins = found(&descriptor.env.login_files);
        if home::usable(descriptor, slot, &variable).is_none() {
            let state = logins.iter().map(|file| kept(file, user.as_deref())).collect();
            return OwnPlaces { write: state, read: program };
        }
        // Renewed in place through the slot's link; everything else of it is the user's.
        let by_file = matches!(probe::login(descriptor, &variable), probe::Login::File(_));
        let linked = descriptor.home.links.values().flat_map(|patterns| found(patterns));
        let linked: Vec<PathBuf> = linked.filter(|file| by_file && file.is_file()).collect();
        let (write, read): (_, Vec<PathBuf>) = linked.into_iter().partition(|file| logins.contains(file));
        program.extend(read);
        OwnPlaces { write, read: program }
    }

    /// Lists where its program is: by its name, where links lead, and, of one in a package of npm, all packages.
    fn places_of_program(&self) -> Vec<PathBuf> {
        let (path, root) = (environment::path(&self.config.set), Path::new("/"));
        let Some(found) = find_program(&self.program(&path, root), &path, root) else { return Vec::new() };
        let real = found.canonicalize().unwrap_or_else(|_| found.clone());
        let packages = real.ancestors().filter(|above| above.ends_with("node_modules")).last().map(Path::to_owned);
        let dirs = [&found, &real].into_iter().filter_map(|file| Some(file.parent()?.to_owned()));
        dirs.chain(packages).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::{open, tests::config};

    #[test]
    fn a_program_is_read_where_its_links_lead_with_the_packages_that_it_needs() {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().canonicalize().expect("there");
        fs::create_dir_all(root.join("node_modules/tool/node_modules/dep")).expect("made");
        fs::create_dir(root.join("bin")).expect("made");
        let script = root.join("node_modules/tool/cli.js");
        fs::write(&script, "#!/bin/sh\n").expect("written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
        std::os::unix::fs::symlink(&script, root.join("bin/tool")).expect("linked");
        let program = root.join("bin/tool").display().to_string();
        let read = open("mine", &config(&[program.as_str()])).own_places(None).read;
        assert_eq!(read, ["bin", "node_modules/tool", "node_modules"].map(|name| root.join(name)));
        assert_eq!(open("mine", &config(&["no-such-program"])).own_places(None).read, Vec::<PathBuf>::new());
    }
}
