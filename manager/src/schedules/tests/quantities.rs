use std::time::Duration;

use super::super::quantities::{parse_duration, parse_size, show_size};

#[test]
fn sizes_as_people_write_them() {
    let good = [
        ("0", 0),
        ("500 MiB", 500 << 20),
        ("4GiB", 4 << 30),
        ("1.5 GiB", 3 << 29),
        (" 20 gb ", 20_000_000_000),
        ("7 B", 7),
    ];
    for (text, bytes) in good {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    let bad = [
        "",
        "-1 GiB",
        "4G",
        "12",
        "GiB",
        "1..5 GiB",
        ".5 GiB",
        "5. GiB",
        "1 GiB 2",
        "99999999 TiB",
        "1e3 MiB",
    ];
    for text in bad {
        let error = parse_size(text).unwrap_err();
        assert!(error.span.end <= text.len(), "{text}: {error:?}");
        assert!(error.help.contains('"'), "{text}: {error:?}");
    }
    assert!(parse_size("4G").unwrap_err().help.contains("\"4 GiB\" (1024) or \"4 GB\" (1000)"));
    assert_eq!(
        ["4 GiB", "20 GB", "7 B", "1 MiB"].map(|size| show_size(parse_size(size).unwrap())),
        ["4 GiB", "20 GB", "7 B", "1 MiB"]
    );
}

#[test]
fn durations_as_people_write_them() {
    for (text, seconds) in [("90s", 90), ("1h 30m", 5400), ("2h", 7200), ("0", 0), ("1 day", 86400)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["", "-5m", "12", "1 horu", "5m!", "h", "1h m", "99999999999999999999h"] {
        let error = parse_duration(text).unwrap_err();
        assert!(error.span.end <= text.len(), "{text}: {error:?}");
    }
    assert!(parse_duration("1 horu").unwrap_err().help.starts_with("did you mean `hour`?"));
}
