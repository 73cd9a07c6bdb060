//! What a confined program cannot do, and what of the network it reaches: the words of a sandbox.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::text;

/// What a confined program cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Guarantee {
    /// Write anywhere but where the profile lets it.
    Files,
    /// Change modes, owners, times or attributes of other files.
    Metadata,
    /// Read the files that are named secret.
    Secrets,
    /// Read environment or memory of other processes.
    Environ,
    /// Signal, slow down or end other processes.
    Processes,
    /// Connect to a socket of another program.
    Sockets,
    /// Reach more of the network than the profile lets it.
    Network,
}

impl Guarantee {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 7] =
        [Self::Files, Self::Metadata, Self::Secrets, Self::Environ, Self::Processes, Self::Sockets, Self::Network];

    /// Returns its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Metadata => "metadata",
            Self::Secrets => "secrets",
            Self::Environ => "environ",
            Self::Processes => "processes",
            Self::Sockets => "sockets",
            Self::Network => "network",
        }
    }

    /// Says what a machine lacks that cannot give it.
    pub fn cannot(self) -> &'static str {
        match self {
            Self::Files => "it needs a namespace, or Landlock 3 (Linux 6.2)",
            Self::Metadata => "it needs a namespace",
            Self::Secrets => "it needs a namespace, or Landlock (Linux 5.13)",
            Self::Environ => "it needs Landlock (Linux 5.13)",
            Self::Processes => "it needs Landlock 6 (Linux 6.12)",
            Self::Sockets => "it needs seccomp",
            Self::Network => "the network is open to it (network = \"all\")",
        }
    }
}

impl std::str::FromStr for Guarantee {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.as_str() == word).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|one| one.as_str()).collect();
            format!("`{}`, which is no guarantee; there are: {}", text::cut(&text::one_line(word), 60), all.join(", "))
        })
    }
}

/// The part of the network that a program may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// All of it.
    #[default]
    All,
    /// Nothing but its own servers.
    None,
    /// TCP to these ports, on any host.
    Ports(Vec<u16>),
    /// Nothing but its own servers and a proxy of the machine, which it finds at [`Network::inside`]. Only a program of
    /// an attempt, and only in a namespace.
    Proxy(SocketAddr),
}

impl Network {
    /// Returns where a program that is kept to a proxy finds it: in its own network there is only the loopback.
    pub fn inside(proxy: SocketAddr) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, proxy.port()).into()
    }
}
