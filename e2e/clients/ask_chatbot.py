"""Searches a chatbot's knowledge base and asks it a question over gRPC, with stubs made from
libs/contracts/proto/answerline/rag/v1/rag.proto by grpcio-tools:

    python -m grpc_tools.protoc -I libs/contracts/proto --python_out=stubs --grpc_python_out=stubs \
        answerline/rag/v1/rag.proto
    PYTHONPATH=stubs RAG_ADDRESS=127.0.0.1:5000 INTERNAL_TOKEN=... python ask_chatbot.py <workspace> <chatbot> <question>

Prints one JSON object: what was found, the events of the answer in their order, and what a call with a wrong token and one for a
chatbot that is not there were refused with.
"""

import json
import os
import sys
import uuid

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from answerline.rag.v1 import rag_pb2, rag_pb2_grpc

# Two embeddings and a model call take seconds; rag itself gives up after 25.
DEADLINE_S = 30


def main(workspace_id: str, chatbot_id: str, question: str) -> None:
    token = os.environ["INTERNAL_TOKEN"]
    # It is near: a proxy of the environment must not stand between.
    with grpc.insecure_channel(os.environ["RAG_ADDRESS"], options=[("grpc.enable_http_proxy", 0)]) as channel:
        rag = rag_pb2_grpc.RagServiceStub(channel)
        where = {"workspace_id": workspace_id, "chatbot_id": chatbot_id}
        with_token = {"metadata": [("authorization", f"Bearer {token}")], "timeout": DEADLINE_S}

        found = rag.Search(rag_pb2.SearchRequest(**where, text=question, limit=3), **with_token)
        earlier = rag_pb2.EarlierMessage(author=rag_pb2.AUTHOR_CONTACT, text="Hello!")
        asked = rag_pb2.AskRequest(**where, question=question, history=[earlier])
        events = [MessageToDict(event) for event in rag.Ask(asked, **with_token)]

        wrong_token = {"metadata": [("authorization", "Bearer wrong")], "timeout": DEADLINE_S}
        elsewhere = rag_pb2.AskRequest(workspace_id=workspace_id, chatbot_id=str(uuid.uuid4()), question=question)
        nothing = rag_pb2.SearchRequest(**where, text="")
        refused = {
            "wrongToken": failure(lambda: rag.Search(rag_pb2.SearchRequest(**where, text=question), **wrong_token)),
            "noSuchChatbot": failure(lambda: list(rag.Ask(elsewhere, **with_token))),
            "noText": failure(lambda: rag.Search(nothing, **with_token)),
        }
    print(json.dumps({"found": MessageToDict(found), "events": events, "refused": refused}))


def failure(call) -> dict:
    """What a refused call says: gRPC's code, and ours with the fields in the way out of the details."""
    try:
        call()
    except grpc.RpcError as error:
        said = {"status": error.code().name}
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            info = error_details_pb2.ErrorInfo()
            fields = error_details_pb2.BadRequest()
            if detail.Unpack(info):
                said |= {"code": info.reason, "domain": info.domain}
            if detail.Unpack(fields):
                said["fields"] = [violation.field for violation in fields.field_violations]
        return said
    raise AssertionError("The call was not refused")


if __name__ == "__main__":
    main(*sys.argv[1:])
