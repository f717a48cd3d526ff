//! The language of error texts that a `/signal` frontend may show to its user.

/// A supported language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Russian,
}

impl Language {
    /// Chooses the language of an `Accept-Language` header (RFC 9110, section 12.5.4): the
    /// supported one that the client prefers; English if there is none.
    pub(super) fn preferred(header: &str) -> Self {
        let mut best = (0.0, Self::English);
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default();
            let primary = tag.split('-').next().unwrap_or_default();
            let language = match primary.to_ascii_lowercase().as_str() {
                "ru" => Self::Russian,
                "en" | "*" => Self::English,
                _ => continue,
            };
            let quality =
                parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let quality: f32 = quality.map_or(1.0, |quality| quality.trim().parse().unwrap_or(0.0));
            // The first of equal qualities wins.
            if quality > best.0 {
                best = (quality, language);
            }
        }
        best.1
    }

    /// Returns the text of `SESSION_ENDED`.
    pub(super) fn session_ended(self) -> &'static str {
        match self {
            Self::English => "session ended",
            Self::Russian => "Сессия завершена",
        }
    }

    /// Returns the text of `SESSION_NOT_FOUND`.
    pub(super) fn session_not_found(self) -> &'static str {
        match self {
            Self::English => "session not found",
            Self::Russian => "Сигнал не найден",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_language_is_chosen_by_quality_and_order() {
        for (header, expected) in [
            ("", Language::English),
            ("ru", Language::Russian),
            ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", Language::Russian),
            ("en-US,en;q=0.9,ru;q=0.8", Language::English),
            ("de-DE, de;q=0.9, RU; q=0.8, en;q=0.7", Language::Russian),
            ("en;q=0.5,ru;q=0.6", Language::Russian),
            ("ru;q=0", Language::English),
            ("ru;q=none", Language::English),
            ("*,ru;q=0.5", Language::English),
            ("fr, de", Language::English),
            ("rum", Language::English),
        ] {
            assert_eq!(Language::preferred(header), expected, "{header}");
        }
    }
}
