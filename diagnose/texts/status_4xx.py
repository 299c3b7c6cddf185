"""What each SIP status code of the 4xx class means for whoever looks for the fault, and what to look at next."""

from __future__ import annotations

from diagnose.texts.entry import Text

CLIENT_ERRORS = {
    400: Text(
        "The receiver cannot read the request. The fault is in its text.",
        "Read the reason phrase and any Warning, then the headers that differ from a request that works.",
        "RFC 3261 section 21.4.1",
    ),
    401: Text(
        "A registrar or user agent wants credentials. Once, it is the normal first half of a registration.",
        "A second one with the same nonce and no stale=true: wrong user, realm or password.",
        "RFC 3261 section 21.4.2, section 22",
    ),
    402: Text(
        "Kept for later use; prepaid systems answer it when the credit is gone.",
        "Ask the carrier about the account.",
        "RFC 3261 section 21.4.3",
    ),
    403: Text(
        (
            "Understood and refused; credentials will not help. Usual: unknown source address, barred number, "
            "caller ID not allowed. With the text Stale Date: the signed caller ID is too old."
        ),
        "Compare source address, From and P-Asserted-Identity with a call that works. Stale Date: look at clocks.",
        "RFC 3261 section 21.4.4, RFC 8224 section 6.2.2",
    ),
    404: Text(
        "There is no such user or number there.",
        "Read the Request-URI: prefix, plus sign, country code, domain.",
        "RFC 3261 section 21.4.5",
    ),
    405: Text(
        "The address is known but takes no such method; Allow lists what it takes.",
        "Switch the feature off that sends the method, or fix where it is sent to.",
        "RFC 3261 section 21.4.6",
    ),
    406: Text(
        "The answer would be in a body that Accept rules out.",
        "Look at Accept in the request. It is not about codecs: that would be 488.",
        "RFC 3261 section 21.4.7",
    ),
    407: Text(
        "A proxy wants credentials. Once, it is normal: the INVITE comes again with Proxy-Authorization.",
        "No second INVITE: the caller has no credentials for that realm. Again and again: they are wrong.",
        "RFC 3261 section 21.4.8, section 22.3",
    ),
    408: Text(
        "No answer in time. A proxy makes it when the next hop is silent, or when nobody answers the phone.",
        "Was there a 180? Then nobody answered. If not, find the hop where the INVITE got no 100.",
        "RFC 3261 section 21.4.9",
    ),
    410: Text(
        "The number existed and is gone, with no new address.",
        "Take it out of the routing.",
        "RFC 3261 section 21.4.10",
    ),
    412: Text(
        "A PUBLISH referred to a state that the server no longer has.",
        "The sender must publish anew without SIP-If-Match.",
        "RFC 3903 section 11.2.1",
    ),
    413: Text(
        "The body is larger than the receiver takes.",
        "Shorten the SDP: fewer codecs, fewer candidates.",
        "RFC 3261 section 21.4.11",
    ),
    414: Text(
        "The Request-URI is longer than the receiver takes.",
        "Look for parameters or headers piled up in the URI.",
        "RFC 3261 section 21.4.12",
    ),
    415: Text(
        "The kind of body is not supported; Accept tells which would be.",
        "Look at Content-Type: multipart, ISUP and INFO bodies are the usual reasons.",
        "RFC 3261 section 21.4.13",
    ),
    416: Text(
        "The scheme of the Request-URI is not understood: tel or sips where only sip is known.",
        "Let the sender write sip: (with user=phone).",
        "RFC 3261 section 21.4.14",
    ),
    417: Text(
        "The Resource-Priority namespaces are unknown, and the request required them.",
        "Remove Require: resource-priority or configure the namespace.",
        "RFC 4412 section 4.6.2",
    ),
    420: Text(
        "The request requires an extension that the receiver does not know; Unsupported names it.",
        "Compare Require with Unsupported and switch that extension off at the sender.",
        "RFC 3261 section 21.4.15",
    ),
    421: Text(
        "The receiver insists on an extension that the request does not list as supported.",
        "Read Require in the answer: 100rel, timer, sec-agree or precondition, as a rule.",
        "RFC 3261 section 21.4.16",
    ),
    422: Text(
        "The session timer asked for is shorter than allowed; Min-SE tells the least.",
        "The sender should repeat with at least that. If it does not, raise its Session-Expires.",
        "RFC 4028 section 6",
    ),
    423: Text(
        "The registration time asked for is too short; Min-Expires tells the least.",
        "The device should register again with that; otherwise raise its expiry.",
        "RFC 3261 section 21.4.17",
    ),
    424: Text(
        "The location in the request cannot be used; Geolocation-Error says why.",
        "Emergency calls: check the location body and its reference.",
        "RFC 6442 section 4.3",
    ),
    425: Text(
        "The public-safety alert in the body cannot be used; AlertMsg-Error says why.",
        "Check the CAP document.",
        "RFC 8876",
    ),
    428: Text(
        "The receiver demands a signed caller ID, and no Identity header of a kind that it knows came.",
        "Let the originating carrier sign (STIR/SHAKEN), or see who removed the header.",
        "RFC 8224 section 6.2.2",
    ),
    429: Text(
        "A REFER without a usable Referred-By token.",
        "Look at Referred-By.",
        "RFC 3892 section 5",
    ),
    430: Text(
        "The connection to the user agent broke at the edge proxy.",
        "The device must register again; look at keep-alives and at the NAT's timer.",
        "RFC 5626 section 11.5",
    ),
    433: Text(
        "The called party takes no anonymous calls.",
        "Look at From, Privacy and P-Asserted-Identity.",
        "RFC 5079 section 5",
    ),
    436: Text(
        "The certificate that the Identity header points at cannot be fetched.",
        "Try the URL in its info parameter.",
        "RFC 8224 section 6.2.2",
    ),
    437: Text(
        "The certificate behind the Identity header is there, but not trusted, or of a kind that is not supported.",
        "Look at who issued it (its chain) and at its algorithm.",
        "RFC 8224 section 6.2.2",
    ),
    438: Text(
        "No Identity header with a valid signed statement: its signature does not fit, or something is missing in it.",
        "Something changed From, To or (for the short form) Date on the way. One that is too old gets 403 Stale Date.",
        "RFC 8224 section 6.2.2",
    ),
    439: Text(
        "The registration wants outbound flows, but the first hop cannot do that.",
        "Switch SIP outbound off, or upgrade the edge proxy.",
        "RFC 5626 section 11.6",
    ),
    440: Text(
        "The request was forked more often than Max-Breadth allows.",
        "Look for loops in forking and for forwardings that point at each other.",
        "RFC 5393 section 5",
    ),
    469: Text(
        "An INFO package that the other side did not announce in Recv-Info.",
        "DTMF by INFO: agree on another way, such as telephone-event.",
        "RFC 6086 section 4.2.2",
    ),
    470: Text(
        "A request to a list of recipients whose consent is missing.",
        "See Permission-Missing.",
        "RFC 5360 section 5.9.2",
    ),
    480: Text(
        "The user is known but cannot be reached now: not registered, do not disturb, or nobody answered.",
        "Is the phone registered? A gateway's Reason header with Q.850 says more.",
        "RFC 3261 section 21.4.18",
    ),
    481: Text(
        (
            "The dialog or transaction is unknown there. Late BYEs and CANCELs get it, and requests that went to "
            "the wrong node."
        ),
        (
            "Compare tags and Call-ID, and see whether Record-Route keeps the dialog on one node; or the far side "
            "restarted."
        ),
        "RFC 3261 section 21.4.19",
    ),
    482: Text(
        "The request came back to where it had been.",
        "Follow the Vias: two systems route the number to each other.",
        "RFC 3261 section 21.4.20",
    ),
    483: Text(
        "Max-Forwards ran down to 0: almost always a routing loop.",
        "Follow the Vias for hosts that repeat.",
        "RFC 3261 section 21.4.21",
    ),
    484: Text(
        "Digits are missing. In overlap dialling it is normal until the last one.",
        "Count the digits of the Request-URI; look at the dial plan's timer.",
        "RFC 3261 section 21.4.22",
    ),
    485: Text(
        "The address fits several users.",
        "Write the full number or user name.",
        "RFC 3261 section 21.4.23",
    ),
    486: Text(
        "The called device is busy. A result of the call, not a fault.",
        "If it was not busy: channel limit on a trunk, do not disturb, or call waiting switched off.",
        "RFC 3261 section 21.4.24",
    ),
    487: Text(
        "The INVITE ended before it was answered: the caller hung up (CANCEL), or a proxy's timer did.",
        "Who sent the CANCEL, after how long, and what does its Reason header say?",
        "RFC 3261 section 21.4.25",
    ),
    488: Text(
        (
            "The session described in the SDP is not acceptable at this place: codecs, SRTP or plain, media type, "
            "direction."
        ),
        "Put offer and Warning header side by side; `siptrail show CALL-ID --media` does.",
        "RFC 3261 section 21.4.26",
    ),
    489: Text(
        "The event package of SUBSCRIBE or PUBLISH is unknown.",
        "Compare Event with Allow-Events; switch that presence or BLF feature off.",
        "RFC 6665 section 8.3.2",
    ),
    491: Text(
        "Two re-INVITEs or offers crossed. Normal now and then: both wait a random time and try again.",
        "If it goes on, one side does not wait, or a re-INVITE was never acknowledged.",
        "RFC 3261 section 21.4.27",
    ),
    493: Text(
        "The body is encrypted (S/MIME) for somebody else.",
        "Check the certificates.",
        "RFC 3261 section 21.4.28",
    ),
    494: Text(
        "The next hop insists on an agreed security mechanism; Security-Server lists them.",
        "The device must answer with Security-Verify, as in IMS registrations.",
        "RFC 3329",
    ),
}
