"""Ask a served model by the Open Inference Protocol over gRPC: python examples/predict_oip.py picture.jpg ...

Needs grpcio-tools, and a TorchServe that was started with TS_OPEN_INFERENCE_PROTOCOL=oip. MODEL, TARGET and TOKEN come
from the environment. TorchServe hands on neither parameters nor raw_input_contents: options are inputs of their own.
"""

import json
import os
import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent))  # where grpc looks for the .proto
messages, services = grpc.protos_and_services("open_inference.proto")

files = [Path(name).read_bytes() for name in sys.argv[1:]]
request = messages.ModelInferRequest(model_name=os.environ.get("MODEL", "demo"))
request.inputs.add(name="pictures", datatype="BYTES", shape=[len(files)], contents={"bytes_contents": files})
request.inputs.add(name="score_threshold", datatype="FP32", shape=[1], contents={"fp32_contents": [0.5]})
request.inputs.add(name="masks", datatype="BYTES", shape=[1], contents={"bytes_contents": [b"none"]})

with grpc.insecure_channel(os.environ.get("TARGET", "127.0.0.1:7070")) as channel:
    service = services.GRPCInferenceServiceStub(channel)
    token = (("protocol", "gRPC"), ("authorization", f"Bearer {os.environ.get('TOKEN', '')}"))
    (output,) = service.ModelInfer(request, timeout=60, metadata=token).outputs

for name, text in zip(sys.argv[1:], output.contents.bytes_contents, strict=False):
    answer = json.loads(json.loads(text))  # TorchServe sends a text of JSON as the JSON of that text
    print(name, json.dumps(answer))
