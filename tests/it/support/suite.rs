//! One suite of cases for several ways to reach the server: each case is a test on each of them, or says why it is none.

/// Makes tests of cases: `module::case on Each Way, not Another: "why";`. A case is an async function of the way. One
/// that a way leaves out without a word fails the test that is made beside them.
macro_rules! suite {
    ($ways:ident::$all:ident; $($module:ident::$case:ident on $($has:ident)+ $(, not $($lacks:ident)+: $why:literal)*;)+) => {
        $(
            #[allow(non_snake_case, reason = "a test is named as its way is")]
            mod $case {
                $(
                    #[tokio::test]
                    async fn $has() {
                        super::$module::$case(super::$ways::$has).await;
                    }
                )+
            }
        )+

        #[test]
        fn every_case_runs_everywhere_or_says_why_not() {
            $(
                let named = [&[$($ways::$has),+][..] $(, &[$($ways::$lacks),+][..])*].concat();
                $(assert!(!$why.is_empty());)*
                for way in $all {
                    let times = named.iter().filter(|named| **named == way).count();
                    assert_eq!(times, 1, "{}, {way:?}", stringify!($case));
                }
            )+
        }
    };
}

pub(crate) use suite;
