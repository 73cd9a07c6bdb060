//! Enums whose variants each stand for one word: a table with name, word and meaning in one row.

/// Makes an enum of such a table, with the words to write and to read; a column behind the word becomes a method.
#[macro_export]
macro_rules! words {
    ($(#[$about:meta])* $vis:vis enum $type:ident { $($name:ident = $word:literal: $doc:literal;)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $type {
            $(#[doc = $doc] $name,)*
        }

        impl $type {
            /// Every one of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the word in files and messages.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// Reads such a word.
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
    ($(#[$about:meta])* $vis:vis enum $type:ident; $(#[$what:meta])* $column:ident: $of:ident {
        $($name:ident = $word:literal, $value:ident: $doc:literal;)*
    }) => {
        $crate::words! {
            $(#[$about])* $vis enum $type { $($name = $word: $doc;)* }
        }

        impl $type {
            $(#[$what])*
            pub fn $column(self) -> $of {
                match self {
                    $(Self::$name => $of::$value,)*
                }
            }
        }
    };
}

pub(crate) use words;
