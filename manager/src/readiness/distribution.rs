//! Which distribution a schedule's elements build, and what does not go with it: elements and releases of another one,
//! another init system, a container runtime that would leave things behind. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::schedules::{Mistake, Schedule, Subject};

use self::known::{DISTRIBUTIONS, Distribution, Family, GUESTS, NOT_SYSTEMD, ONLY};

mod known;

/// What disk-image-builder's resolver says of one schedule's elements.
pub(super) struct Resolution<'a> {
    /// What they expand to.
    pub(super) elements: &'a BTreeSet<String>,
    /// Which of [`marks`] each element that the schedule names brings along, itself included.
    pub(super) brings: &'a BTreeMap<String, Vec<String>>,
    /// Init systems that elements besides disk-image-builder's own ask for in their environment.d.
    pub(super) inits: &'a BTreeMap<String, String>,
}

/// The elements by which distributions and their package managers are told.
pub(super) fn marks() -> Vec<&'static str> {
    let managers = [Family::Apt, Family::Rpm, Family::Zypper].into_iter().flat_map(Family::managers);
    managers.chain(DISTRIBUTIONS.iter().flat_map(|one| one.systems)).copied().collect()
}

/// What is wrong.
pub(super) fn mistakes(schedule: &Schedule, resolution: &Resolution<'_>) -> Vec<Mistake> {
    let found = distributions(resolution.elements);
    let mut mistakes = Vec::new();
    match found.as_slice() {
        [] => mistakes.extend(two_families(schedule, resolution)),
        [one] => {
            mistakes.extend(foreign_elements(schedule, resolution, one));
            mistakes.extend(release(schedule, one));
        }
        several => mistakes.push(two_systems(schedule, resolution, several)),
    }
    mistakes.extend(init_system(schedule, resolution));
    mistakes.extend(runtime(schedule, resolution.elements));
    mistakes
}

/// What may be right and is not known: a release that is newer than this program.
pub(super) fn note(schedule: &Schedule, elements: &BTreeSet<String>) -> Option<String> {
    let [one] = distributions(elements)[..] else { return None };
    let release = schedule.image.environment.get("DIB_RELEASE")?;
    (!one.knows(release)).then(|| {
        format!(
            "schedule {}: DIB_RELEASE {release:?} is not a release of {} that this program knows; a newer one is built \
             all the same",
            schedule.name, one.name
        )
    })
}

/// The distribution, as far as the elements tell.
pub(super) fn distribution(elements: &BTreeSet<String>) -> Option<&'static str> {
    match distributions(elements)[..] {
        [one] => Some(one.name),
        _ => None,
    }
}

/// The same of a schedule whose elements were not resolved: by their names, as `debian` or `debian-cloud-guest`.
pub(super) fn by_names(schedule: &Schedule) -> Option<&'static str> {
    let elements = &schedule.image.elements;
    let is_named = |one: &Distribution, element: &String| {
        let word = one.name.split(' ').next().unwrap_or_default().to_lowercase();
        one.systems.contains(&element.as_str())
            || element.strip_prefix(&word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let mut found = DISTRIBUTIONS.iter().filter(|one| elements.iter().any(|element| is_named(one, element)));
    let first = found.next()?;
    found.next().is_none().then_some(first.name)
}

fn distributions(elements: &BTreeSet<String>) -> Vec<&'static Distribution> {
    let of = |one: &&Distribution| one.systems.iter().any(|system| elements.contains(*system));
    DISTRIBUTIONS.iter().filter(of).collect()
}

/// Where a schedule names an element; its list of elements where another one brings it along.
fn place_of(schedule: &Schedule, element: &str) -> Subject {
    let named = schedule.image.elements.iter().any(|name| name == element);
    if named { Subject::Element(element.to_owned()) } else { Subject::Elements }
}

/// Each brings its root, and the resolver does not mind: both are made from a container, say.
fn two_systems(schedule: &Schedule, resolution: &Resolution<'_>, several: &[&Distribution]) -> Mistake {
    let names: Vec<&str> = several.iter().map(|one| one.name).collect();
    let of = |element: &&String| {
        let brings = resolution.brings.get(*element);
        brings.is_some_and(|marks| {
            several.iter().any(|one| one.systems.iter().any(|system| marks.iter().any(|mark| mark == system)))
        })
    };
    let second = schedule.image.elements.iter().filter(of).nth(1).cloned();
    Mistake::of(
        schedule,
        second.map_or(Subject::Elements, Subject::Element),
        format!(
            "the elements of `{}` provide {} operating systems: {}",
            schedule.name,
            names.len(),
            names.join(" and ")
        ),
        "a second operating system".to_owned(),
        "leave out all but one; an image of another distribution needs a schedule of its own".to_owned(),
    )
}

/// Of an operating system that an element of the user's own brings only the package managers tell.
fn two_families(schedule: &Schedule, resolution: &Resolution<'_>) -> Option<Mistake> {
    let families: Vec<Family> =
        Family::ALL.into_iter().filter(|family| family.is_in(resolution.elements)).collect();
    (families.len() > 1).then(|| {
        let names: Vec<&str> = families.iter().map(|family| family.name()).collect();
        Mistake::of(
            schedule,
            Subject::Elements,
            format!("the elements of `{}` are for different distributions", schedule.name),
            format!("{} at once", names.join(" and ")),
            "leave out those that do not belong to its operating system".to_owned(),
        )
    })
}

fn foreign_elements(schedule: &Schedule, resolution: &Resolution<'_>, one: &Distribution) -> Vec<Mistake> {
    let mut names = BTreeSet::new();
    let named = schedule.image.elements.iter().filter(|name| names.insert(name.as_str()));
    named
        .filter_map(|name| {
            let of = belongs_to(name, resolution, one)?;
            Some(Mistake::of(
                schedule,
                Subject::Element(name.clone()),
                format!("the element `{name}` is not for {}, which `{}` builds", one.name, schedule.name),
                format!("for {of}"),
                format!("leave it out{}", one.guest_instead(name)),
            ))
        })
        .collect()
}

/// What an element is for, when it is not for this distribution.
fn belongs_to(name: &str, resolution: &Resolution<'_>, one: &Distribution) -> Option<String> {
    if let Some((_, of)) = GUESTS.iter().find(|(guest, _)| *guest == name) {
        return (!of.contains(&one.name)).then(|| of.join(", "));
    }
    if let Some((_, family)) = ONLY.iter().find(|(element, _)| *element == name) {
        return (*family != one.family).then(|| family.name().to_owned());
    }
    let marks: BTreeSet<String> = resolution.brings.get(name)?.iter().cloned().collect();
    let other = Family::ALL.into_iter().find(|family| *family != one.family && family.is_in(&marks))?;
    Some(other.name().to_owned())
}

/// A release of another distribution, or a number where releases have names.
fn release(schedule: &Schedule, one: &Distribution) -> Option<Mistake> {
    let value = schedule.image.environment.get("DIB_RELEASE")?;
    let place = Subject::Value("DIB_RELEASE".to_owned());
    let such_as = format!("such as DIB_RELEASE = {:?}", one.example);
    if one.name == "Debian"
        && value == "sid"
        && !schedule.image.environment.contains_key("DIB_APT_SOURCES_CONF")
    {
        return Some(Mistake::of(
            schedule,
            place,
            "disk-image-builder knows sid only as \"unstable\"".to_owned(),
            "it would add sid-updates and sid-security, which no mirror has".to_owned(),
            "write DIB_RELEASE = \"unstable\", or give the sources in DIB_APT_SOURCES_CONF".to_owned(),
        ));
    }
    if one.knows(value) {
        return None;
    }
    let of_another = DISTRIBUTIONS.iter().find(|other| other.has_name(value));
    if let Some(other) = of_another {
        return Some(Mistake::of(
            schedule,
            place,
            format!("{value:?} is a release of {}, but `{}` builds {}", other.name, schedule.name, one.name),
            format!("not a release of {}", one.name),
            such_as,
        ));
    }
    let number = value.starts_with(|first: char| first.is_ascii_digit());
    (one.family == Family::Apt && number).then(|| {
        let named = one.named(value).map_or(such_as, |name| format!("{value} is {name:?}"));
        Mistake::of(
            schedule,
            place,
            format!("{value:?} is not a release of {}: its archive has them by name", one.name),
            "a number".to_owned(),
            named,
        )
    })
}

/// Only systemd: refused before anything is built.
fn init_system(schedule: &Schedule, resolution: &Resolution<'_>) -> Option<Mistake> {
    let set = |name: &str| schedule.image.environment.get(name).map(String::as_str);
    let at_element = |name: &str| place_of(schedule, name);
    let value = |name: &str| Subject::Value(name.to_owned());
    let own = || {
        let own = resolution.inits.iter().find(|(element, _)| resolution.elements.contains(*element));
        own.map(|(element, init)| (at_element(element), init.clone()))
    };
    let (place, init) = set("DIB_INIT_SYSTEM")
        .filter(|init| *init != "systemd")
        .map(|init| (value("DIB_INIT_SYSTEM"), init.to_owned()))
        .or_else(|| {
            let gentoo = resolution.elements.contains("gentoo");
            let profile = set("GENTOO_PROFILE").unwrap_or_default();
            let place = if profile.is_empty() { at_element("gentoo") } else { value("GENTOO_PROFILE") };
            (gentoo && !profile.contains("systemd")).then(|| (place, "openrc".to_owned()))
        })
        .or_else(|| {
            let upstart = resolution.elements.contains("debian-upstart");
            upstart.then(|| (at_element("debian-upstart"), "upstart".to_owned()))
        })
        .or_else(|| {
            let one = *distributions(resolution.elements).first()?;
            let release = set("DIB_RELEASE")?;
            let (_, init) = one.without_systemd.iter().find(|(name, _)| *name == release)?;
            Some((value("DIB_RELEASE"), (*init).to_owned()))
        })
        .or_else(own)
        .or_else(|| {
            let mut packages = schedule.image.packages.iter();
            let (package, init) =
                packages.find_map(|package| NOT_SYSTEMD.iter().find(|(name, _)| name == package))?;
            Some((Subject::Package((*package).to_owned()), (*init).to_owned()))
        })?;
    Some(Mistake::of(
        schedule,
        place,
        format!("the image of `{}` would be started by {init}, but only systemd is supported", schedule.name),
        format!("{init}, not systemd"),
        "the agent, cloud-init and the network need systemd: build a release or profile that has it"
            .to_owned(),
    ))
}

/// docker keeps what it makes with its daemon, which no build's end takes away.
fn runtime(schedule: &Schedule, elements: &BTreeSet<String>) -> Option<Mistake> {
    const VARIABLE: &str = "DIB_CONTAINERFILE_RUNTIME";
    let other = schedule.image.environment.get(VARIABLE).filter(|runtime| *runtime != "podman");
    let (place, what) = match other {
        Some(runtime) if elements.contains("containerfile") => {
            (Subject::Value(VARIABLE.to_owned()), runtime.as_str())
        }
        _ if elements.contains("docker") => (place_of(schedule, "docker"), "docker"),
        _ => return None,
    };
    Some(Mistake::of(
        schedule,
        place,
        format!("`{}` takes its root from a {what} container, but only podman is supported", schedule.name),
        "not podman".to_owned(),
        "a build that is killed would leave behind what docker's daemon keeps: use the element \
         `containerfile` with podman"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests;
