"""Ask a served model over TorchServe's own gRPC: python examples/predict_grpc.py picture.jpg [name=value ...].

Needs grpcio-tools. MODEL, TARGET and TOKEN come from the environment.
"""

import json
import os
import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent))  # where grpc looks for the .proto
messages, services = grpc.protos_and_services("inference.proto")

picture, *options = sys.argv[1:]
fields = {"data": Path(picture).read_bytes()}
fields |= {name: value.encode() for name, value in (option.split("=", 1) for option in options)}

with grpc.insecure_channel(os.environ.get("TARGET", "127.0.0.1:7070")) as channel:
    service = services.InferenceAPIsServiceStub(channel)
    request = messages.PredictionsRequest(model_name=os.environ.get("MODEL", "demo"), input=fields)
    token = (("protocol", "gRPC"), ("authorization", f"Bearer {os.environ.get('TOKEN', '')}"))
    answer = json.loads(service.Predictions(request, timeout=60, metadata=token).prediction)

if "error" in answer:  # the call itself has gone well: gRPC shows no status of ours
    sys.exit(f"{answer['error']['code']}: {answer['error']['message']}")
for each in answer["detections"]:
    print(f"{each['class']:<12} {each['score']:.3f}", *each["box"])
