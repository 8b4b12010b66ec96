//! Generates the Rust side of the interfaces without needing `protoc` on the machine.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["image_manager/v1/agent.proto", "image_manager/v1/control.proto"];
    println!("cargo:rerun-if-changed=proto");
    // Source information keeps the comments, so that server reflection teaches.
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(files)?;
    let descriptors = compiler.file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
