//! What server reflection tells: the control service, and the messages and enumerations that it needs. The agents' gateway is
//! not served on this port, so neither it nor its messages are told of here, though they share a package and a file.

use std::collections::BTreeSet;

use prost::{DecodeError, Message as _};
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// The package of the interfaces.
const PACKAGE: &str = "image_manager.v1";
/// The service of this port in it.
const SERVICE: &str = "ImageManager";
/// Where a file's messages, enumerations and services are in the paths of its comments: numbers of fields of
/// `FileDescriptorProto` in google/protobuf/descriptor.proto.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;

/// The descriptions that reflection answers from.
///
/// # Errors
/// When the descriptions of the interfaces are broken.
pub(super) fn descriptors() -> Result<FileDescriptorSet, DecodeError> {
    let mut all = FileDescriptorSet::decode(image_manager_proto::FILE_DESCRIPTOR_SET)?;
    let needed = needed(&all);
    for file in all.file.iter_mut().filter(|file| file.package.as_deref() == Some(PACKAGE)) {
        leave(file, &needed);
    }
    Ok(all)
}

/// The service, and every type that its methods lead to; by their names, as fields name types.
fn needed(all: &FileDescriptorSet) -> BTreeSet<String> {
    let ours = || all.file.iter().filter(|file| file.package.as_deref() == Some(PACKAGE));
    let services = ours().flat_map(|file| &file.service).filter(|one| one.name.as_deref() == Some(SERVICE));
    let mut ahead: Vec<String> = services
        .flat_map(|service| &service.method)
        .flat_map(|method| [method.input_type.clone(), method.output_type.clone()])
        .flatten()
        .collect();
    let mut needed = BTreeSet::from([absolute(SERVICE)]);
    while let Some(name) = ahead.pop() {
        let found = ours()
            .flat_map(|file| &file.message_type)
            .find(|message| absolute(message.name.as_deref().unwrap_or_default()) == name);
        if needed.insert(name) {
            ahead.extend(found.into_iter().flat_map(named_in));
        }
    }
    needed
}

/// The types of a message's fields, and of those of the messages within it.
fn named_in(message: &DescriptorProto) -> Vec<String> {
    let own = message.field.iter().filter_map(|field| field.type_name.clone());
    own.chain(message.nested_type.iter().flat_map(named_in)).collect()
}

fn absolute(name: &str) -> String {
    format!(".{PACKAGE}.{name}")
}

/// Takes from a file what is not needed. The comments of what stays stay with it; those of the file as a whole go, since they
/// are about what went, too.
fn leave(file: &mut FileDescriptorProto, needed: &BTreeSet<String>) {
    let keep = |name: Option<&str>| name.is_some_and(|name| needed.contains(&absolute(name)));
    let messages = retain(&mut file.message_type, |message| keep(message.name.as_deref()));
    let enums = retain(&mut file.enum_type, |one| keep(one.name.as_deref()));
    let services = retain(&mut file.service, |service| keep(service.name.as_deref()));
    if [&messages, &enums, &services].into_iter().flatten().all(Option::is_some) {
        return;
    }
    let Some(comments) = &mut file.source_code_info else { return };
    comments.location.retain_mut(|location| {
        let [kind, place, ..] = location.path.as_mut_slice() else { return false };
        let places = match *kind {
            MESSAGES => &messages,
            ENUMS => &enums,
            SERVICES => &services,
            _ => return false,
        };
        let now = usize::try_from(*place).ok().and_then(|place| places.get(place).copied().flatten());
        if let Some(now) = now {
            *place = now;
        }
        now.is_some()
    });
}

/// Keeps some of them; returns where each of all is now.
fn retain<T>(all: &mut Vec<T>, keep: impl Fn(&T) -> bool) -> Vec<Option<i32>> {
    let mut places = 0..;
    let now = all.iter().map(|one| if keep(one) { places.next() } else { None }).collect();
    all.retain(keep);
    now
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    /// The comment before a message, by the place that the file's comments have it at.
    fn comment(all: &FileDescriptorSet, name: &str) -> String {
        let holds = |file: &&FileDescriptorProto| {
            file.message_type.iter().any(|message| message.name.as_deref() == Some(name))
        };
        let file = all.file.iter().find(holds).unwrap();
        let place = file.message_type.iter().position(|message| message.name.as_deref() == Some(name));
        let path = [MESSAGES, i32::try_from(place.unwrap()).unwrap()];
        let comments = file.source_code_info.as_ref().unwrap();
        let found = comments.location.iter().find(|location| location.path == path).unwrap();
        found.leading_comments.clone().unwrap()
    }

    #[test]
    fn only_what_this_port_serves_is_told_of() {
        let all = FileDescriptorSet::decode(image_manager_proto::FILE_DESCRIPTOR_SET).unwrap();
        let told = descriptors().unwrap();
        // It fails where a field names a type that is not there.
        let pool = DescriptorPool::from_file_descriptor_set(told.clone()).unwrap();
        let services: Vec<_> = pool.services().map(|service| service.full_name().to_owned()).collect();
        assert_eq!(services, ["image_manager.v1.ImageManager"]);
        for name in ["AgentMessage", "Hello", "CheckRequest", "Report"] {
            let name = format!("image_manager.v1.{name}");
            assert!(pool.get_message_by_name(&name).is_none(), "{name}");
        }
        assert!(!format!("{told:?}").contains("AgentGateway"), "no comment either");
        for name in ["Build", "RemovedPath", "CancelBuildRequest"] {
            assert_eq!(comment(&told, name), comment(&all, name));
        }
        assert!(pool.get_enum_by_name("image_manager.v1.CheckOutcome").is_some());
        let methods = |all: &FileDescriptorSet| {
            let pool = DescriptorPool::from_file_descriptor_set(all.clone()).unwrap();
            pool.get_service_by_name("image_manager.v1.ImageManager").unwrap().methods().count()
        };
        assert_eq!(methods(&told), methods(&all));
    }
}
