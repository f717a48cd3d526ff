//! Names that resemble those of settings.

/// Returns the setting that a misspelt name resembles most, if one does.
pub(super) fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let distance = |known: &str| strsim::damerau_levenshtein(known, name);
    let is_near = |known: &str| distance(known) <= max_edits(known);
    // Typing errors rarely change the first letter.
    let rank = |known: &&str| (distance(known), known.chars().next() != name.chars().next());
    known.iter().map(String::as_str).filter(|known| is_near(known)).min_by_key(rank)
}

/// Returns the edit distance up to which a name counts as misspelt. Short names resemble too many
/// others.
fn max_edits(known: &str) -> usize {
    if known.len() > 5 { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found_and_other_variables_are_not() {
        let known =
            ["HOST", "PORT", "SFU", "DEMO", "MAX_ROOM_SIZE", "MAX_ROOMS"].map(str::to_owned);
        for (name, near) in [
            ("PROT", "PORT"),
            ("POTR", "PORT"),
            ("POST", "PORT"),
            ("PORTT", "PORT"),
            ("HSOT", "HOST"),
            ("DEMOS", "DEMO"),
            ("MAX_ROOMSIZE", "MAX_ROOM_SIZE"),
            ("MAX_ROOM", "MAX_ROOMS"),
        ] {
            assert_eq!(nearest(name, &known), Some(near), "{name}");
        }
        for other in [
            "HOME", "PATH", "PWD", "TERM", "USER", "LANG", "SHELL", "MAIL", "SHLVL", "OLDPWD",
            "EDITOR",
        ] {
            assert_eq!(nearest(other, &known), None, "{other}");
        }
    }
}
