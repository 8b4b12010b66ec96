//! Connections for which sshd is asked what it would do (`sshd -T -C`): without one it leaves out all that is for some
//! connections only.

use super::addresses;
use super::patterns::{example, lists, matches};
use super::written::{Block, Condition, Written};
use crate::checks::accounts::Accounts;

/// Most blocks of `Match` that are looked at.
const MOST_BLOCKS: usize = 16;
/// An address of nobody (RFC 5737), from which everybody may come.
const ABROAD: &str = "198.51.100.7";
const HOST: &str = "client.example";
/// Where the server is met.
const LOCAL: &str = "192.0.2.1";
const PORT: &str = "22";
const ROOT: &str = "root";
/// Of whom nothing is known. All systems have this one.
const STRANGER: &str = "nobody";

/// What a block may be about, as far as one can make a connection of it.
const KNOWN: [&str; 9] =
    ["all", "user", "group", "address", "host", "localaddress", "localport", "rdomain", "invalid-user"];

/// A connection that somebody might make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::checks) struct Connection {
    pub(in crate::checks) user: String,
    /// The conditions that it is to meet, as they are written. Empty: none in particular.
    pub(in crate::checks) meets: String,
    address: String,
    host: String,
    local_address: String,
    local_port: String,
    routing_domain: String,
}

impl Connection {
    /// One of this user from anywhere. None: sshd cannot be asked about such a name.
    pub(in crate::checks) fn from_abroad(user: &str) -> Option<Self> {
        let connection = Self {
            user: user.to_owned(),
            meets: String::new(),
            address: ABROAD.to_owned(),
            host: HOST.to_owned(),
            local_address: LOCAL.to_owned(),
            local_port: PORT.to_owned(),
            routing_domain: String::new(),
        };
        connection.can_be_said().then_some(connection)
    }

    pub(in crate::checks) fn is_roots(&self) -> bool {
        self.user == ROOT
    }

    /// As `-C` takes it: it has no way of quoting.
    pub(super) fn specification(&self) -> String {
        let domain = match self.routing_domain.as_str() {
            "" => String::new(),
            domain => format!(",rdomain={domain}"),
        };
        format!(
            "user={},host={},addr={},laddr={},lport={}{domain}",
            self.user, self.host, self.address, self.local_address, self.local_port
        )
    }

    fn can_be_said(&self) -> bool {
        let parts = [&self.user, &self.host, &self.address, &self.local_address, &self.local_port];
        let is_plain =
            |text: &String| !text.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control());
        parts.into_iter().all(|part| !part.is_empty() && is_plain(part)) && is_plain(&self.routing_domain)
    }
}

/// The connections that are to be asked about: of these users, of another one and of root from anywhere, and for each
/// block of `Match` those that meet its conditions. Beside them, the blocks for which none could be made.
pub(in crate::checks) fn connections(
    written: &Written,
    users: &[String],
    accounts: &Accounts,
) -> (Vec<Connection>, Vec<String>) {
    let mut all: Vec<Connection> = Vec::new();
    let mut left_out = Vec::new();
    for user in users.iter().map(String::as_str).chain([STRANGER, ROOT]) {
        all.extend(Connection::from_abroad(user));
    }
    for (index, block) in written.blocks.iter().enumerate() {
        match meeting(block, users, accounts) {
            Some(meeting) if index < MOST_BLOCKS => all.extend(meeting),
            _ => left_out.push(block.text.clone()),
        }
    }
    (all, left_out)
}

/// Connections that meet the conditions of a block: root's and others', as far as it is for them. Empty: nobody who is
/// known meets them. None: one cannot tell what would.
fn meeting(block: &Block, users: &[String], accounts: &Accounts) -> Option<Vec<Connection>> {
    if !block.conditions.iter().all(|one| KNOWN.contains(&one.criterion.as_str())) {
        return None;
    }
    if on(block, "invalid-user").next().is_some() {
        return Some(Vec::new());
    }
    let address = addresses::meeting(&lists_of(block, "address"), ABROAD)?;
    let local_address = addresses::meeting(&lists_of(block, "localaddress"), LOCAL)?;
    let host = text_meeting(&lists_of(block, "host"), HOST)?;
    let local_port = text_meeting(&lists_of(block, "localport"), PORT)?;
    let routing_domain = text_meeting(&lists_of(block, "rdomain"), "")?;
    let connection = |user: String| Connection {
        user,
        meets: block.text.clone(),
        address: address.clone(),
        host: host.clone(),
        local_address: local_address.clone(),
        local_port: local_port.clone(),
        routing_domain: routing_domain.clone(),
    };
    let all: Vec<Connection> = who(block, users, accounts).into_iter().map(connection).collect();
    all.iter().all(Connection::can_be_said).then_some(all)
}

fn on<'a>(block: &'a Block, criterion: &'a str) -> impl Iterator<Item = &'a Condition> {
    block.conditions.iter().filter(move |one| one.criterion == criterion)
}

fn lists_of<'a>(block: &'a Block, criterion: &'a str) -> Vec<&'a [String]> {
    on(block, criterion).map(|one| one.patterns.as_slice()).collect()
}

/// A text that all lists of patterns mean: `otherwise`, or an example of one. None: there is none that one could tell.
fn text_meeting(lists_of_patterns: &[&[String]], otherwise: &str) -> Option<String> {
    let examples = lists_of_patterns.iter().flat_map(|list| list.iter()).map(|pattern| example(pattern));
    let mut candidates = [otherwise.to_owned()].into_iter().chain(examples);
    candidates.find(|text| lists_of_patterns.iter().all(|list| lists(list, text)))
}

/// Who meets the conditions on users and groups: one of those who are to log in, one who is not, and root.
fn who(block: &Block, users: &[String], accounts: &Accounts) -> Vec<String> {
    let in_group = |name: &str, patterns: &[String]| {
        let Some(account) = accounts.find(name) else { return false };
        let groups: Vec<&str> = accounts.groups_of(account).collect();
        // A group that is taken out takes out all who are in it.
        let mut taken_out = patterns.iter().filter_map(|one| one.strip_prefix('!'));
        !taken_out.any(|one| groups.iter().any(|group| matches(group, one)))
            && groups.iter().any(|group| lists(patterns, group))
    };
    let meets = |name: &&str| {
        on(block, "user").all(|one| lists(&one.patterns, name))
            && on(block, "group").all(|one| in_group(name, &one.patterns))
    };
    let others = [STRANGER].into_iter().chain(accounts.all.iter().map(|user| user.name.as_str()));
    let mut others = others.filter(|name| *name != ROOT && !users.iter().any(|user| user == name));
    let mut all: Vec<String> = Vec::new();
    all.extend(users.iter().map(String::as_str).find(meets).map(str::to_owned));
    all.extend(others.find(meets).map(str::to_owned));
    all.extend([ROOT].into_iter().find(meets).map(str::to_owned));
    // Who is not there yet, but named, may come.
    if all.is_empty() && on(block, "group").next().is_none() {
        all.extend(text_meeting(&lists_of(block, "user"), STRANGER));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n\
                          debian:x:1000:1000::/home/debian:/bin/sh\nbackup:x:34:34::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,backup\ndebian:x:1000:\nempty:x:77:\n";

    fn asked(blocks: &str) -> (Vec<String>, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        let guest = crate::guest::Guest::below(root.path());
        std::fs::create_dir_all(guest.path("/etc/ssh")).unwrap();
        std::fs::write(guest.path("/etc/ssh/sshd_config"), blocks).unwrap();
        let accounts = Accounts::parse(PASSWD, "", GROUP);
        let (all, left_out) = connections(&Written::read(&guest), &["debian".to_owned()], &accounts);
        let told = |one: &Connection| one.specification().replace(",host=client.example", "");
        (all.iter().skip(3).map(told).collect(), left_out)
    }

    #[test]
    fn each_block_is_met() {
        let from = |address: &str, users: &[&str]| -> Vec<String> {
            let one = |user: &&str| format!("user={user},addr={address},laddr=192.0.2.1,lport=22");
            users.iter().map(one).collect()
        };
        let abroad = |users: &[&str]| from("198.51.100.7", users);
        for (block, met) in [
            ("Match User root", abroad(&["root"])),
            ("Match User !root,*", abroad(&["debian", "nobody"])),
            ("Match User ops*", abroad(&["opsx"])),
            ("Match Group wheel", abroad(&["backup", "root"])),
            ("Match Group !wheel,*", abroad(&["debian"])),
            ("Match Group empty", abroad(&[])),
            ("Match all", abroad(&["debian", "nobody", "root"])),
            ("Match Address 10.0.0.0/8", from("10.0.0.0", &["debian", "nobody", "root"])),
            ("Match User root Address 10.0.0.0/8,!10.0.0.0/9", from("10.255.255.255", &["root"])),
            ("Match Address *,!10.0.0.0/8 User backup", abroad(&["backup"])),
            ("Match invalid-user", abroad(&[])),
            (
                "Match LocalPort 2222 RDomain blue User root",
                vec!["user=root,addr=198.51.100.7,laddr=192.0.2.1,lport=2222,rdomain=blue".to_owned()],
            ),
            (
                "Match LocalAddress fd00::1 User root",
                vec!["user=root,addr=198.51.100.7,laddr=fd00::1,lport=22".to_owned()],
            ),
        ] {
            let (all, left_out) = asked(block);
            assert_eq!((all, left_out), (met, Vec::new()), "{block}");
        }
        assert_eq!(asked("").0, [""; 0], "nothing but the users themselves");
    }

    #[test]
    fn what_cannot_be_met_is_told() {
        for block in ["Match Version 10.*", "Match User a,b Host \"a b\"", "Match Address nowhere"] {
            let text = block.replace('"', "");
            assert_eq!(asked(block), (Vec::new(), vec![text]), "{block}");
        }
        let many: Vec<String> = (0..20).map(|n| format!("Match User u{n}")).collect();
        let (all, left_out) = asked(&many.join("\n"));
        assert_eq!((all.len(), left_out.len()), (16, 4));
    }

    #[test]
    fn root_and_somebody_else_are_asked_about_in_any_case() {
        let (all, _) = connections(&Written::default(), &[], &Accounts::default());
        let users: Vec<&str> = all.iter().map(|one| one.user.as_str()).collect();
        assert_eq!(users, ["nobody", "root"]);
        assert!(Connection::from_abroad("a,b").is_none());
    }
}
