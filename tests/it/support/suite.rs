//! Runs one suite of cases for several kinds of clients: each case is a test of each kind, or
//! states why not.

/// Defines a test for each case and kind of client:
/// `module::case on One Other, not Third: "reason";`. A case is an async function of the kind.
/// Another test fails if a case neither runs on a kind nor excludes it with a reason.
macro_rules! suite {
    ($kinds:ident::$all:ident; $($module:ident::$case:ident on $($has:ident)+ $(, not $($lacks:ident)+: $reason:literal)*;)+) => {
        $(
            #[allow(non_snake_case, reason = "a test has the name of its kind")]
            mod $case {
                $(
                    #[tokio::test]
                    async fn $has() {
                        super::$module::$case(super::$kinds::$has).await;
                    }
                )+
            }
        )+

        #[test]
        fn every_case_runs_on_all_clients_or_is_excluded() {
            $(
                let named = [&[$($kinds::$has),+][..] $(, &[$($kinds::$lacks),+][..])*].concat();
                $(assert!(!$reason.is_empty());)*
                for kind in $all {
                    let times = named.iter().filter(|named| **named == kind).count();
                    assert_eq!(times, 1, "{}, {kind:?}", stringify!($case));
                }
            )+
        }
    };
}

pub(crate) use suite;
