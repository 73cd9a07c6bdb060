//! The form in which a key of the configuration is declared: once, with all that is known of it.
//!
//! [`section!`](crate::declare::section) makes of one declaration the field that the rest of the program reads and
//! the [`Key`] from which checking, trust, the commented template, the JSON schema and the reference are made.

use std::time::Duration;

use toml::Value;

use super::{kind::Kind, values};

/// A table of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// With dots; `*` stands for a name.
    pub(crate) path: &'static str,
    /// Its purpose, in the lines of its declaration.
    pub(crate) about: &'static [&'static str],
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

impl Section {
    /// Tells whether it holds the keys of another table for one name.
    pub(crate) fn is_narrower(&self) -> bool {
        self.path.contains(".*.")
    }
}

/// A key, or with `*` in its path all keys of that form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// With dots; `*` stands for a name.
    pub(crate) path: &'static str,
    /// Its name before it was renamed; still understood.
    pub(crate) was: Option<&'static str>,
    /// The kind of its value.
    pub(crate) kind: Kind,
    /// The use that a project may make of it before the user trusts the project.
    pub(crate) untrusted: UntilTrusted,
    /// The value, as TOML, where nobody sets it.
    pub(crate) default: Option<&'static str>,
    /// A value for the template, as TOML.
    pub(crate) example: Option<&'static str>,
    /// Its purpose, in the lines of its declaration.
    pub(crate) doc: &'static [&'static str],
}

/// The use that the files of a project may make of a key before the user trusts the project. Every key decides, and whatever
/// could loosen anything is [`UntilTrusted::Ignored`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UntilTrusted {
    /// Nothing: the value of the layers below stays.
    Ignored,
    /// Make the number, the duration or the size smaller.
    Smaller,
    /// The same where 0 stands for no limit: set one, or make it smaller.
    Limit,
    /// Say `true`.
    OnlyTrue,
    /// Say this word.
    Only(&'static str),
    /// Add entries: those of the layers below count as well.
    Adds,
}

impl Key {
    /// Returns the value of a name that does not set it.
    pub(crate) fn default_value(&self) -> Option<Value> {
        self.default.map(toml_value)
    }

    /// Returns what the key is for, on one line.
    pub(crate) fn sentence(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// Returns the path that the key had before it was renamed.
    pub(crate) fn old_path(&self) -> Option<String> {
        let (table, _) = self.path.rsplit_once('.')?;
        Some(format!("{table}.{}", self.was?))
    }
}

/// Reads a value as it is written in a declaration.
pub(crate) fn toml_value(text: &str) -> Value {
    let mut table: toml::Table = format!("v = {text}").parse().expect("values in declarations are TOML");
    table.remove("v").expect("it was written")
}

/// A type of the configuration's fields, made from a value that has been checked; without one it is empty.
pub(crate) trait FromValue: Sized {
    fn from_value(kind: Kind, value: Option<&Value>) -> Self;
}

impl FromValue for String {
    fn from_value(_: Kind, value: Option<&Value>) -> Self {
        value.and_then(Value::as_str).unwrap_or_default().into()
    }
}

/// `None` for empty text.
impl FromValue for Option<String> {
    fn from_value(kind: Kind, value: Option<&Value>) -> Self {
        Some(String::from_value(kind, value)).filter(|text| !text.is_empty())
    }
}

/// A list, or one text that is not empty.
impl FromValue for Vec<String> {
    fn from_value(kind: Kind, value: Option<&Value>) -> Self {
        match value.and_then(|value| values::list(value).ok()) {
            Some(texts) => texts.into_iter().map(String::from).collect(),
            None => Option::<String>::from_value(kind, value).into_iter().collect(),
        }
    }
}

impl FromValue for bool {
    fn from_value(_: Kind, value: Option<&Value>) -> Self {
        value.and_then(Value::as_bool).unwrap_or_default()
    }
}

macro_rules! amounts {
    ($($type:ty: |$amount:ident| $made:expr;)+) => {
        $(impl FromValue for $type {
            fn from_value(kind: Kind, value: Option<&Value>) -> Self {
                let $amount = value.and_then(|value| kind.amount(value)).and_then(|amount| amount.try_into().ok());
                $made
            }
        }

        /// `None` where 0 stands for no limit.
        impl FromValue for Option<$type> {
            fn from_value(kind: Kind, value: Option<&Value>) -> Self {
                Some(<$type>::from_value(kind, value)).filter(|limit| *limit != <$type>::default())
            }
        })+
    };
}
amounts! {
    u32: |amount| amount.unwrap_or_default();
    u64: |amount| amount.unwrap_or_default();
    Duration: |nanos| Self::from_nanos(nanos.unwrap_or_default());
}

/// An enum whose variants are words of the configuration; the first is the one where nothing else is said.
macro_rules! words {
    ($(#[$meta:meta])+ pub enum $name:ident { $($(#[$more:meta])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$more])+ $variant,)+ }

        impl $name {
            pub(crate) const WORDS: &[&str] = &[$($word),+];
        }

        impl Default for $name {
            fn default() -> Self {
                [$(Self::$variant),+][0]
            }
        }

        impl $crate::declare::FromValue for $name {
            fn from_value(_: $crate::kind::Kind, value: Option<&toml::Value>) -> Self {
                match value.and_then(toml::Value::as_str) {
                    $(Some($word) => Self::$variant,)+
                    _ => Self::default(),
                }
            }
        }

        impl $name {
            /// Returns its word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

/// A key's path below its table: the field's name, or the words after `as`.
macro_rules! name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Declares a table of the configuration. One entry is
///
///     /// What it is for, as users read it.
///     field as "key" was "old_key": Type, Kind, UntilTrusted = "default" like "example";
///
/// where everything but the name, the three in the middle and the comment may be absent. Forms:
/// `pub struct Name = "table" { … }` makes the struct, `fn name() -> Name = "table" { … }` fills one that exists, both with
/// further fields in `beside { … }`; `const NAME = "table" { … }` only declares keys, which are read by hand.
/// `pub struct Name = "table" with (PART = "narrower.*.table") { … }` declares the same keys a second time, where they say
/// nothing until somebody sets them; `const NAME = "table" with (PART = "other.*") { … }` does so for keys that are read by
/// hand.
macro_rules! section {
    ($(#[doc = $about:literal])+ pub struct $name:ident = $path:literal with ($($part:ident = $narrower:literal),+)
        $keys:tt) => {
        section!($(#[doc = $about])+ pub struct $name = $path $keys);
        $(section!(@part $part = $narrower $keys);)+
    };
    (@part $part:ident = $path:literal {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty, $kind:ident $(($($arg:tt)*))?,
            $untrusted:ident $(($word:literal))? = $default:tt;)+
    }) => {
        section!(const $part = $path {
            $($(#[doc = $doc])+ (stringify!($field)): $kind $(($($arg)*))?, $untrusted $(($word))? like $default;)+
        });
    };
    ($(#[doc = $about:literal])+ const $name:ident = $path:literal with ($part:ident = $other:literal) $keys:tt) => {
        section!($(#[doc = $about])+ const $name = $path $keys);
        section!(@also $part = $other $keys);
    };
    (@also $part:ident = $path:literal {
        $($(#[doc = $doc:literal])+ ($key:expr): $kind:ident $(($($arg:tt)*))?, $untrusted:ident
            $(= $default:tt)? $(like $example:tt)?;)+
    }) => {
        section!(const $part = $path {
            $($(#[doc = $doc])+ ($key): $kind $(($($arg)*))?, $untrusted $(like $default)? $(like $example)?;)+
        });
    };
    ($(#[doc = $about:literal])+ pub struct $name:ident = $path:literal {
        $($(#[doc = $doc:literal])+ $field:ident $(as $key:literal)? $(was $was:literal)?: $type:ty,
            $kind:ident $(($($arg:tt)*))?, $untrusted:ident $(($word:literal))? $(= $default:tt)? $(like $example:tt)?;)+
        $(beside { $($(#[$more:meta])+ $other:ident: $other_type:ty;)+ })?
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
            $($($(#[$more])+ pub $other: $other_type,)+)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self::read(&Values::of(&$crate::flat::Flat::new()), &[])
            }
        }

        impl $name {
            section!($(#[doc = $about])+ const SECTION = $path {
                $($(#[doc = $doc])+ (name!($field $($key)?)) $(was $was)?: $kind $(($($arg)*))?,
                    $untrusted $(($word))? $(= $default)? $(like $example)?;)+
            });

            /// Reads the table of this path, e.g. `["roles", "builder"]`.
            pub(crate) fn read(values: &Values<'_>, table: &[&str]) -> Self {
                Self {
                    $($field: values.take(table, name!($field $($key)?), Kind::$kind $(($($arg)*))?,
                        section!(@maybe $(stringify!($default))?)),)+
                    $($($other: Default::default(),)+)?
                }
            }
        }
    };
    ($(#[doc = $about:literal])+ fn $name:ident() -> $of:ident = $path:literal {
        $($(#[doc = $doc:literal])+ $field:ident $(as $key:literal)?: $kind:ident $(($($arg:tt)*))?,
            $untrusted:ident = $default:tt;)+
        $(beside { $($other:ident),+ })?
    }) => {
        pub(crate) mod $name {
            use super::*;

            section!($(#[doc = $about])+ const SECTION = $path {
                $($(#[doc = $doc])+ (name!($field $($key)?)): $kind $(($($arg)*))?, $untrusted = $default;)+
            });

            /// Reads the table of this path.
            pub(crate) fn read(values: &Values<'_>, table: &[&str]) -> $of {
                $of {
                    $($field: values.take(table, name!($field $($key)?), Kind::$kind $(($($arg)*))?,
                        Some(stringify!($default))),)+
                    $($($other: Default::default(),)+)?
                }
            }
        }
    };
    ($(#[doc = $about:literal])* const $name:ident = $path:literal {
        $($(#[doc = $doc:literal])+ ($key:expr) $(was $was:literal)?: $kind:ident $(($($arg:tt)*))?,
            $untrusted:ident $(($word:literal))? $(= $default:tt)? $(like $example:tt)?;)+
    }) => {
        pub(crate) const $name: Section = Section { path: $path, about: &[$($about),*], keys: &[$(Key {
            path: concat!($path, ".", $key),
            was: section!(@maybe $($was)?),
            kind: Kind::$kind $(($($arg)*))?,
            untrusted: UntilTrusted::$untrusted $(($word))?,
            default: section!(@maybe $(stringify!($default))?),
            example: section!(@maybe $(stringify!($example))?),
            doc: &[$($doc),+],
        }),+] };
    };
    (@maybe) => { None };
    (@maybe $value:expr) => { Some($value) };
}

pub(crate) use {name, section, words};
