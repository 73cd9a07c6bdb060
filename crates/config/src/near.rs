//! Finds the known word that an unknown one probably meant.

/// Returns the candidate nearest to a word, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of both lengths; no name of ours is so long.
    let word: String = word.to_lowercase().chars().take(64).collect();
    // A third of the letters wrong is another word.
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let words = ["interval", "drain", "grace", "lock_wait"];
        assert_eq!(nearest("intervall", words), Some("interval"));
        assert_eq!(nearest("Interval", words), Some("interval"));
        assert_eq!(nearest("drian", words), Some("drain"));
        assert_eq!(nearest("lockwait", words), Some("lock_wait"));
    }

    #[test]
    fn another_word_finds_nothing() {
        assert_eq!(nearest("colour", ["interval", "drain"]), None);
        assert_eq!(nearest("", ["a"]), Some("a"));
        assert_eq!(nearest("x", std::iter::empty()), None);
    }
}
