"""Registered SIP status codes and Q.850 causes in words."""

from __future__ import annotations

STATUS = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 199: "Early Dialog Terminated",
    200: "OK", 202: "Accepted", 204: "No Notification", 300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily",
    305: "Use Proxy", 380: "Alternative Service", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    410: "Gone", 412: "Conditional Request Failed", 413: "Request Entity Too Large", 414: "Request-URI Too Long",
    415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 417: "Unknown Resource-Priority", 420: "Bad Extension",
    421: "Extension Required", 422: "Session Interval Too Small", 423: "Interval Too Brief", 424: "Bad Location Information",
    425: "Bad Alert Message", 428: "Use Identity Header", 429: "Provide Referrer Identity", 430: "Flow Failed",
    433: "Anonymity Disallowed", 436: "Bad Identity-Info", 437: "Unsupported Certificate", 438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support", 440: "Max-Breadth Exceeded", 469: "Bad Info Package", 470: "Consent Needed",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops",
    484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
    489: "Bad Event", 491: "Request Pending", 493: "Undecipherable", 494: "Security Agreement Required", 500: "Server Internal Error",
    501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
    513: "Message Too Large", 555: "Push Notification Service Not Supported", 580: "Precondition Failure", 600: "Busy Everywhere",
    603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted", 608: "Rejected"}
Q850 = {
    1: "Unallocated number", 2: "No route to transit network", 3: "No route to destination", 6: "Channel unacceptable",
    16: "Normal call clearing", 17: "User busy", 18: "No user responding", 19: "No answer from user", 20: "Subscriber absent",
    21: "Call rejected", 22: "Number changed", 23: "Redirection to new destination", 26: "Non-selected user clearing",
    27: "Destination out of order", 28: "Invalid number format", 29: "Facility rejected", 30: "Response to status enquiry",
    31: "Normal, unspecified", 34: "No circuit available", 38: "Network out of order", 41: "Temporary failure",
    42: "Switching equipment congestion", 43: "Access information discarded", 44: "Requested circuit not available",
    47: "Resource unavailable", 50: "Requested facility not subscribed", 55: "Incoming calls barred", 57: "Bearer capability not authorized",
    58: "Bearer capability not available", 63: "Service or option not available", 65: "Bearer capability not implemented",
    66: "Channel type not implemented", 69: "Requested facility not implemented", 70: "Only restricted digital information available",
    79: "Service or option not implemented", 81: "Invalid call reference", 87: "User not member of CUG", 88: "Incompatible destination",
    95: "Invalid message", 96: "Mandatory information element missing", 97: "Message type non-existent", 99: "Information element non-existent",
    100: "Invalid information element contents", 101: "Message not compatible with call state", 102: "Recovery on timer expiry",
    111: "Protocol error", 127: "Interworking, unspecified"}


def reason_phrase(code: int) -> str:
    """The registered phrase, or the class of an unregistered code."""
    classes = {1: "Provisional", 2: "Success", 3: "Redirection", 4: "Client Error", 5: "Server Error", 6: "Global Failure"}
    return STATUS.get(code) or classes.get(code // 100, "Unknown")


def q850(cause: int) -> str:
    """The text of a Q.850 cause."""
    return Q850.get(cause, "Unknown cause")
