//! The gRPC interfaces of Image Manager, generated from `proto/image_manager/v1/*.proto`.

/// Package `image_manager.v1`: the agents' gateway and the control service.
pub mod v1 {
    #![expect(
        clippy::pedantic,
        clippy::large_enum_variant,
        reason = "generated code; its documentation is in the .proto files"
    )]
    tonic::include_proto!("image_manager.v1");
}

/// The encoded `FileDescriptorSet` of all interfaces with their comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
