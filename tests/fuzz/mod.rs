//! Hostile bytes for everything that reads what others wrote: queue, leases, journal, streams of agents,
//! ids, configuration, result files, words for terminals.
//!
//! The inputs of `corpus/<target>` and changes to them, seeded and repeatable. What shows something new stays
//! and is changed further. `make test` plays a slice, `make fuzz` as long as it is told. An input that breaks a
//! target is made small and kept in `target/fuzz`; put it into the corpus with the fix.

use std::{
    cell::Cell,
    collections::HashSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Once,
    time::{Duration, Instant},
};

mod mutate;
mod store;
mod targets;

use mutate::Random;

/// Something that reads bytes. It panics where a promise is broken, else says what kind of input it was.
pub(crate) trait Target {
    /// The name of its corpus.
    const NAME: &'static str;
    /// Words of its format.
    const WORDS: &'static [&'static [u8]];

    /// Further inputs, beside its corpus.
    fn seeds() -> Vec<PathBuf> {
        Vec::new()
    }

    fn new() -> Self;

    fn run(&mut self, input: &[u8]) -> u64;
}

/// What an input showed, as one number.
fn kind(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Of words in which numbers and quotations differ from input to input, what does not.
fn shape(words: &str) -> String {
    let said: String = words.split(['`', '"', '\'']).step_by(2).collect();
    said.chars().filter(|c| c.is_ascii() && !c.is_ascii_digit()).take(60).collect()
}

fn below_tests(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(dir);
    let mut files: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

thread_local! {
    /// An input is being made small: its panics are expected.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn hush() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
}

/// Runs one input; answers the words of a panic.
fn attempt<T: Target>(target: &mut T, input: &[u8]) -> Result<u64, String> {
    panic::catch_unwind(AssertUnwindSafe(|| target.run(input))).map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).into())).unwrap_or_default()
    })
}

/// Leaves away what is not needed to break the target.
fn small<T: Target>(input: &[u8], words: &str) -> Vec<u8> {
    let mut best = input.to_vec();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut size = best.len() / 2;
    while size > 0 && Instant::now() < deadline {
        let mut at = 0;
        while at < best.len() && Instant::now() < deadline {
            let mut shorter = best.clone();
            shorter.drain(at..(at + size).min(best.len()));
            match attempt(&mut T::new(), &shorter) {
                Err(same) if shape(&same) == shape(words) => best = shorter,
                _ => at += size,
            }
        }
        size /= 2;
    }
    best
}

/// How long, and how many at most.
struct Budget {
    time: Duration,
    inputs: u64,
}

fn fuzz<T: Target>(budget: &Budget) {
    hush();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random::new(seed);
    let files = [below_tests(&format!("fuzz/corpus/{}", T::NAME)), T::seeds()].concat();
    let mut corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("an input")).collect();
    assert!(!corpus.is_empty(), "{} has no corpus", T::NAME);
    let given = corpus.len();
    let mut target = T::new();
    let mut kinds = HashSet::new();
    let (began, mut ran) = (Instant::now(), 0);
    while ran < given as u64 || (ran < budget.inputs && began.elapsed() < budget.time) {
        let is_given = ran < given as u64;
        let input = match corpus.get(ran as usize).filter(|_| is_given) {
            Some(input) => input.clone(),
            // What was found last has been changed least.
            None => {
                let at = if random.below(2) == 0 { random.below(corpus.len()) } else { newest(&mut random, &corpus) };
                mutate::mutated(&mut random, &corpus[at], &corpus, T::WORDS)
            }
        };
        QUIET.set(true);
        let ended = attempt(&mut target, &input);
        QUIET.set(false);
        match ended {
            Ok(kind) => {
                if kinds.insert(kind) && !is_given && corpus.len() < 4_096 {
                    corpus.push(input);
                }
            }
            Err(words) => broken::<T>(&input, &words, seed, ran),
        }
        ran += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "figure: fuzz {}: {ran} inputs from {given} given ones, {} kinds, {} per second, seed {seed}, nothing broken",
        T::NAME,
        kinds.len(),
        (ran as f64 / seconds) as u64
    );
}

fn newest(random: &mut Random, corpus: &[Vec<u8>]) -> usize {
    corpus.len() - 1 - random.below(corpus.len().min(32))
}

fn broken<T: Target>(input: &[u8], words: &str, seed: u64, at: u64) -> ! {
    QUIET.set(true);
    let input = small::<T>(input, words);
    QUIET.set(false);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("fuzz");
    fs::create_dir_all(&dir).expect("a directory");
    let file = dir.join(format!("{}-{:016x}", T::NAME, kind(&input)));
    fs::write(&file, &input).expect("written");
    panic!(
        "{} is broken by input {at} of seed {seed}: {words}\nmade small: {}\n{:?}",
        T::NAME,
        file.display(),
        String::from_utf8_lossy(&input)
    );
}

/// The committed inputs and some thousand changes to them.
const SLICE: Budget = Budget { time: Duration::from_secs(3), inputs: 4_000 };

/// `FUZZ_SECONDS` for each target that `FUZZ_TARGET` does not leave out.
fn at_length<T: Target>() {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    if wanted.is_empty() || wanted.split_whitespace().any(|name| name == T::NAME) {
        let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
        fuzz::<T>(&Budget { time: Duration::from_secs(seconds), inputs: u64::MAX });
    }
}

macro_rules! targets {
    ($(fn $slice:ident() for $target:ty;)*) => {
        $(
            #[test]
            fn $slice() {
                fuzz::<$target>(&SLICE);
            }
        )*

        #[test]
        #[ignore = "as long as FUZZ_SECONDS says for each target: make fuzz"]
        fn every_target_at_length() {
            $(at_length::<$target>();)*
        }

        #[test]
        fn every_corpus_has_its_target() {
            let named: Vec<&str> = vec![$(<$target as Target>::NAME),*];
            for dir in below_tests("fuzz/corpus") {
                let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
                assert!(named.contains(&name.as_str()), "{name}");
            }
        }
    };
}

targets! {
    fn no_queue_text_breaks_reading_or_editing() for targets::QueueText;
    fn no_lease_file_breaks_the_store_or_the_rules() for store::LeaseText;
    fn no_journal_breaks_the_store_or_loses_a_line() for store::JournalText;
    fn no_stream_breaks_its_parser_however_it_is_cut() for targets::StreamBytes;
    fn no_accepted_id_leads_out_of_its_directory() for targets::Ids;
    fn no_configuration_is_refused_without_its_place() for targets::ConfigText;
    fn no_result_file_breaks_the_worker_or_shows_a_secret() for targets::ResultText;
    fn no_output_paints_over_a_terminal() for targets::Output;
}
