//! What names and other short texts may look like.

pub(super) use image_manager_agent::checks::descriptor::Rule;
use image_manager_agent::checks::descriptor::is_plain as plain;

pub(super) const SCHEDULE_NAME: Rule = Rule {
    what: "a schedule's name",
    help: "letters, digits, `-` and `_`, at most 63, not beginning with `-`",
    holds: |text| plain(text, 63, "-_", "-"),
};

pub(super) const CHECK_NAME: Rule = Rule {
    what: "a check's name",
    help: "letters, digits, `-` and `_`, at most 63, not beginning with `-`, and not \"set\"",
    holds: |text| plain(text, 63, "-_", "-") && text != "set",
};

pub(super) const TARGET_NAME: Rule =
    Rule { what: "a target's name", help: SCHEDULE_NAME.help, holds: SCHEDULE_NAME.holds };

pub(super) const ELEMENT: Rule = Rule {
    what: "an element's name",
    help: "letters, digits, `.`, `_`, `+` and `-`, at most 100, not beginning with `-` or `.`",
    holds: |text| plain(text, 100, "._+-", "-."),
};

pub(super) const PACKAGE: Rule = Rule {
    what: "a package's name",
    help: "one package for each string, as in [\"curl\", \"vim-tiny\"]",
    holds: |text| plain(text, 200, ".+:_=~-", "-.:=~"),
};

pub(super) const PUBLISH_NAME: Rule = Rule {
    what: "an image's public name",
    help: "letters, digits, `.`, `-` and `_`, at most 100, not beginning with a dot",
    holds: |text| plain(text, 100, ".-_", "."),
};

pub(super) const USER_NAME: Rule = Rule {
    what: "a user's name",
    help: "lower-case letters, digits, `_` and `-`, at most 32, beginning with a letter or `_`",
    holds: is_user_name,
};

pub(super) const GROUP_NAME: Rule = Rule {
    what: "a group's name",
    help: "lower-case letters, digits, `_` and `-`, at most 32, beginning with a letter or `_`",
    holds: is_user_name,
};

fn is_user_name(text: &str) -> bool {
    plain(text, 32, "_-", "-0123456789") && !text.contains(|c: char| c.is_ascii_uppercase())
}

pub(super) const SHELL: Rule = Rule {
    what: "a login shell",
    help: "the full path, as in \"/bin/bash\"",
    holds: |text| text.starts_with('/') && plain(text, 200, "/._+-", ""),
};

pub(super) const PUBLIC_KEY: Rule = Rule {
    what: "a public SSH key",
    help: "the single line of the .pub file, as in \"ssh-ed25519 AAAA... someone@somewhere\"",
    holds: is_public_key,
};

/// By Nova's own rule.
pub(super) const KEY_PAIR: Rule = Rule {
    what: "a key pair's name",
    help: "the name of a key pair in the cloud (`openstack keypair list`), or the public key in a .pub file",
    holds: |text| {
        (1..=255).contains(&text.len())
            && text.trim() == text
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -_.@".contains(&byte))
    },
};

pub(super) fn is_public_key(text: &str) -> bool {
    let mut words = text.split_whitespace().skip_while(|word| !is_key_type(word));
    let _key_type = words.next();
    words.next().is_some_and(|key| {
        key.starts_with("AAAA")
            && key.len() >= 40
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    })
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"].iter().any(|start| word.starts_with(start))
}

pub(super) const CLOUD: Rule =
    Rule { what: "a cloud's name", help: "`local`, or the name of a cloud in clouds.yaml", holds: is_short };

/// Names that are the cloud's business: flavors, networks and the like.
pub(super) const CLOUD_OBJECT: Rule =
    Rule { what: "a name or id", help: "give the name or the id that the cloud shows", holds: is_short };

fn is_short(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.trim() == text
}

pub(super) const HOST_PATH: Rule = Rule {
    what: "a path",
    help: "a file or directory on this host; a relative path is resolved from the directory of the schedules file",
    holds: |text| (1..=1024).contains(&text.len()) && text.trim() == text && !text.contains(':'),
};

pub(super) const REPOSITORY_NAME: Rule = Rule {
    what: "a repository's name",
    help: "letters, digits, `-` and `_`, at most 63, not beginning with `-`; not \"main\", which is dnf's own section",
    holds: |text| plain(text, 63, "-_", "-") && text != "main",
};

pub(super) const REPOSITORY_URL: Rule = Rule {
    what: "a repository's URL",
    help: "`https://host/...`, `http://host/...` or `file:///...`, as in \"https://packages.example/debian\"",
    holds: |text| {
        let plain_url = |rest: &str| {
            !rest.is_empty()
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/%+,=&?[]".contains(&byte))
        };
        let starts = ["https://", "http://", "file:///"];
        text.len() <= 2048 && starts.iter().any(|start| text.strip_prefix(start).is_some_and(plain_url))
    },
};

pub(super) const SUITE: Rule = Rule {
    what: "a suite",
    help: "as in \"bookworm\" or \"stable/updates\"; a flat repository is a directory, as in \"./\"",
    holds: |text| plain(text, 200, "-._/+~", "-+~"),
};

pub(super) const COMPONENT: Rule = Rule {
    what: "a component",
    help: "as in \"main\" or \"non-free-firmware\"",
    holds: |text| plain(text, 200, "-._/+", "-./+"),
};

pub(super) const IMAGE_PATH: Rule = Rule {
    what: "a file's path in the image",
    help: "the full path of the file, as in \"/etc/motd\": letters, digits, `.`, `_`, `+`, `@`, `-`, without `..`",
    holds: |text| {
        text.starts_with('/')
            && plain(text, 500, "/._+@-", "")
            && text.split('/').skip(1).all(|part| !["", ".", ".."].contains(&part))
    },
};

pub(super) const MODE: Rule = Rule {
    what: "a file's mode",
    help: "three or four octal digits, as in \"0644\"",
    holds: |text| (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit)),
};

pub(super) const OWNER: Rule = Rule {
    what: "a file's owner",
    help: "user and group as the image knows them, as in \"root:root\" or \"0:0\"",
    holds: |text| {
        let one = |name: &str| is_user_name(name) || (name.len() <= 9 && name.parse::<u32>().is_ok());
        text.split_once(':').is_some_and(|(user, group)| one(user) && one(group))
    },
};

pub(super) const SECRET_NAME: Rule = Rule {
    what: "a secret's name",
    help: "letters, digits and `_`, at most 63: a file of this name holds it during the build",
    holds: |text| plain(text, 63, "_", ""),
};
