"""What AWS calls the permissions that its documentation says a request needs, and the things they are for."""

# What IAM calls differently from the API.
LAMBDA_ACTIONS = {"Invoke": "InvokeFunction", "InvokeWithResponseStream": "InvokeFunction"}
# Parts of a bucket, by the word in the query; what deletes one of the last four is called as what puts it.
BUCKET_PARTS = {
    "accelerate": "AccelerateConfiguration",
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "replication": "ReplicationConfiguration",
    "requestPayment": "BucketRequestPayment",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "tagging": "BucketTagging",
}
PUT_TO_DELETE = {"encryption", "lifecycle", "publicAccessBlock", "tagging"}
# By service: a field of the request, and the resource that it names.
RESOURCES = {
    "cloudwatch": {
        "AlarmName": "arn:aws:cloudwatch:{region}:{account}:alarm:{value}",
        "AlarmNames": "arn:aws:cloudwatch:{region}:{account}:alarm:{value}",
        "DashboardName": "arn:aws:cloudwatch::{account}:dashboard/{value}",
        "ResourceARN": "{value}",
    },
    "events": {
        "Name": "arn:aws:events:{region}:{account}:{kind}/{value}",
        "ResourceARN": "{value}",
        "Rule": "arn:aws:events:{region}:{account}:rule/{value}",
    },
    "firehose": {"DeliveryStreamName": "arn:aws:firehose:{region}:{account}:deliverystream/{value}"},
    "iam": {
        "OpenIDConnectProviderArn": "{value}",
        "RoleName": "arn:aws:iam::{account}:role/{value}",
        "PolicyArn": "{value}",
        "PolicyName": "arn:aws:iam::{account}:policy/{value}",
    },
    "logs": {
        "logGroupName": "arn:aws:logs:{region}:{account}:log-group:{value}:*",
        "logGroupIdentifier": "{value}",
        "resourceArn": "{value}",
    },
    "sns": {"TopicArn": "{value}", "Name": "arn:aws:sns:{region}:{account}:{value}", "ResourceArn": "{value}"},
    "sts": {"RoleArn": "{value}"},
}
# What AWS asks for beside the action, of a request that tags what it makes ...
TAGGING = {
    "cloudwatch:PutMetricAlarm": "cloudwatch:TagResource",
    "events:PutRule": "events:TagResource",
    "firehose:CreateDeliveryStream": "firehose:TagDeliveryStream",
    "iam:CreateRole": "iam:TagRole",
    "lambda:CreateFunction": "lambda:TagResource",
    "logs:CreateLogGroup": "logs:TagResource",
    "sns:CreateTopic": "sns:TagResource",
}
# ... or that hands a role to a service: the field, or the field within a field or a list, that names the role ...
PASSING = {
    "events:PutTargets": ("Targets", "RoleArn"),
    "firehose:CreateDeliveryStream": ("ExtendedS3DestinationConfiguration", "RoleARN"),
    "firehose:UpdateDestination": ("ExtendedS3DestinationUpdate", "RoleARN"),
    "lambda:CreateFunction": ("Role",),
    "lambda:UpdateFunctionConfiguration": ("Role",),
    "logs:PutSubscriptionFilter": ("roleArn",),
}
# ... or that is done to a second thing too: the field that names it.
SECOND = {"events:CreateApiDestination": "ConnectionArn"}
# By service: a field of the request, and the key of a condition.
CONDITIONS = {
    "cloudwatch": {"Namespace": "cloudwatch:namespace"},
    "iam": {"PermissionsBoundary": "iam:PermissionsBoundary"},
}
