"""Drives the control service with nothing but what server reflection tells.

reflection_client.py IP:PORT    needs grpcio and grpcio-reflection
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1])
database = ProtoReflectionDescriptorDatabase(channel)
services = database.get_services()
assert "image_manager.v1.ImageManager" in services, services
assert "grpc.health.v1.Health" in services, services
assert not [name for name in services if "AgentGateway" in name], services
pool = DescriptorPool(database)
service = pool.FindServiceByName("image_manager.v1.ImageManager")


def call(name, **fields):
    method = service.methods_by_name[name]
    request = GetMessageClass(method.input_type)(**fields)
    answer = GetMessageClass(method.output_type)
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    stub = kind(
        f"/image_manager.v1.ImageManager/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return stub(request, timeout=240)


schedules = call("ListSchedules").schedules
assert [schedule.name for schedule in schedules] == ["tiny"], schedules

build = call("TriggerBuild", schedule="tiny")
assert len(build.id) == 36, build

try:
    call("TriggerBuild", schedule="tiny")
    raise AssertionError("a second trigger was taken")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.ALREADY_EXISTS, error
    assert build.id in error.details(), error.details()

try:
    call("TriggerBuild", schedule="nothing")
    raise AssertionError("an unknown schedule was taken")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error

states, of_trials, lines = [], [], 0
state_names = pool.FindEnumTypeByName("image_manager.v1.BuildState").values_by_number
trial_state_names = pool.FindEnumTypeByName("image_manager.v1.TrialState").values_by_number
for event in call("WatchBuild", id=build.id, logs=True):
    if event.HasField("build"):
        states.append(state_names[event.build.state].name)
        of_trials += [trial_state_names[trial.state].name for trial in event.build.trials]
    if event.HasField("log"):
        lines += 1
assert states[-1] == "BUILD_STATE_SUCCEEDED", states
for state in ("BUILDING", "TRYING", "CLEANING_UP"):
    assert f"BUILD_STATE_{state}" in states, (state, states)
for state in ("UPLOADING", "BOOTING", "VERIFYING", "CLEANING_UP", "SUCCEEDED"):
    assert f"TRIAL_STATE_{state}" in of_trials, (state, of_trials)
assert lines > 10, lines

page = call("ListBuilds", page_size=1)
assert [listed.id for listed in page.builds] == [build.id], page
assert call("GetBuild", id=build.id[:18]).id == build.id

report = call("GetReport", points=10).schedules
assert [(summed.schedule, summed.builds, summed.passed) for summed in report] == [("tiny", 1, 1)], report
assert [point.build_id for point in report[0].points] == [build.id], report
assert {stage.name for stage in report[0].stages} >= {"building", "uploading", "booting"}, report
assert report[0].boot.p50.ToMilliseconds() > 0 and report[0].sizes.p50_bytes > 0, report
try:
    call("GetReport", schedule="nothing")
    raise AssertionError("the builds of an unknown schedule were summed up")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
compared = call("CompareBuilds", a=build.id, b="latest")
assert compared.packages_a == compared.packages_b > 10 and not compared.packages, compared
try:
    call("CompareBuilds", a="ffff", b="latest")
    raise AssertionError("a build that is not there was compared")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error

assert call("PauseSchedule", schedule="tiny").paused
assert not call("ResumeSchedule", schedule="tiny").paused

# The comments of the interface travel with it, in both versions of reflection.
from grpc_reflection.v1alpha import reflection_pb2  # noqa: E402

for version in ("v1alpha", "v1"):
    stub = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol="image_manager.v1.ImageManager")
    answer = next(stub(iter([question]), timeout=30))
    assert b"puts a build of a schedule into the queue" in answer.file_descriptor_response.file_descriptor_proto[0]
    # What only agents speak is not served here, and cannot be found here.
    for symbol in ("AgentGateway", "AgentGateway.Attach", "Hello", "ManagerMessage"):
        question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"image_manager.v1.{symbol}")
        try:
            answer = next(stub(iter([question]), timeout=30))
            raise AssertionError(f"{symbol} is reflected: {answer}")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
    question = reflection_pb2.ServerReflectionRequest(file_by_filename="image_manager/v1/agent.proto")
    answer = next(stub(iter([question]), timeout=30))
    shared = answer.file_descriptor_response.file_descriptor_proto[0]
    assert b"CheckOutcome" in shared and b"AgentGateway" not in shared and b"Hello" not in shared, shared

print("all of it works")
